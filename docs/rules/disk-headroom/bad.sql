-- the whole table and its indexes stand there twice
VACUUM FULL orders;
