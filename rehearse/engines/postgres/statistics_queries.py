"""Questions to the catalog about tables: rows for each of the given oids, which are their first column."""

from __future__ import annotations

# Tables of the user's own, by oid: no system schemas, no partitions (they count into their root), nothing
# temporary, nothing that an extension brought.
RELATIONS = """
SELECT c.oid::int8, n.nspname, c.relname, c.relkind::text, c.reltuples::float8, c.relpages::int8,
       c.reltoastrelid::int8
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND NOT c.relispartition
   AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
   AND (%(schemas)s::text[] IS NULL OR n.nspname = ANY (%(schemas)s::text[]))
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                    WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
                      AND d.objid = c.oid AND d.deptype = 'e')
 ORDER BY n.nspname, c.relname
"""

# Every table with what stores it: itself, or its partitions down to the leaves.
STORES = """
WITH RECURSIVE tree (root, oid) AS (
    SELECT o, o FROM unnest(%(oids)s::oid[]) o
    UNION ALL
    SELECT t.root, i.inhrelid FROM tree t JOIN pg_catalog.pg_inherits i ON i.inhparent = t.oid
      JOIN pg_catalog.pg_class p ON p.oid = i.inhrelid AND p.relispartition)
SELECT t.root::int8, c.oid::int8, c.reltuples::float8, c.relpages::int8, c.reltoastrelid::int8,
       coalesce(s.n_live_tup, 0)::int8, coalesce(s.n_dead_tup, 0)::int8,
       coalesce(s.n_mod_since_analyze, 0)::int8
  FROM tree t JOIN pg_catalog.pg_class c ON c.oid = t.oid
  LEFT JOIN pg_catalog.pg_stat_user_tables s ON s.relid = c.oid
 WHERE c.relkind = 'r'
"""

SIZES = """
SELECT o::int8, pg_catalog.pg_relation_size(o::pg_catalog.regclass)::int8 FROM unnest(%(oids)s::oid[]) o
"""

PAGES = """
SELECT c.oid::int8, c.relpages::int8 * pg_catalog.current_setting('block_size')::int8
  FROM pg_catalog.pg_class c WHERE c.oid = ANY (%(oids)s::oid[])
"""

INDEXES = """
SELECT i.indrelid::int8, i.indexrelid::int8, x.relname,
       CASE WHEN i.indisunique AND i.indpred IS NULL AND i.indnkeyatts = 1 AND i.indkey[0] > 0
            THEN i.indkey[0]::int ELSE 0 END
  FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
 WHERE i.indrelid = ANY (%(oids)s::oid[]) ORDER BY x.relname
"""

COLUMNS = """
WITH RECURSIVE bases (oid, base) AS (
    SELECT t.oid, t.oid FROM pg_catalog.pg_type t
     WHERE t.oid IN (SELECT atttypid FROM pg_catalog.pg_attribute WHERE attrelid = ANY (%(oids)s::oid[]))
    UNION ALL
    SELECT b.oid, t.typbasetype FROM bases b JOIN pg_catalog.pg_type t ON t.oid = b.base
     WHERE t.typtype = 'd')
SELECT a.attrelid::int8, a.attnum::int, a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod),
       t.typname, t.typcategory::text, a.attgenerated <> ''
  FROM pg_catalog.pg_attribute a JOIN bases b ON b.oid = a.atttypid
  JOIN pg_catalog.pg_type t ON t.oid = b.base AND t.typtype <> 'd'
 WHERE a.attrelid = ANY (%(oids)s::oid[]) AND a.attnum > 0 AND NOT a.attisdropped
 ORDER BY a.attrelid, a.attnum
"""

STATISTICS = """
SELECT c.oid::int8, s.attname, s.null_frac::float8, s.avg_width, s.n_distinct::float8,
       s.most_common_vals::text::text[], s.most_common_freqs::float8[], s.histogram_bounds::text::text[],
       s.correlation::float8, s.most_common_elems::text::text[], s.most_common_elem_freqs::float8[],
       s.elem_count_histogram[array_upper(s.elem_count_histogram, 1)]::float8
  FROM pg_catalog.pg_stats s
  JOIN pg_catalog.pg_namespace n ON n.nspname = s.schemaname
  JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = s.tablename
 WHERE c.oid = ANY (%(oids)s::oid[]) AND s.inherited = (c.relkind = 'p')
"""

REFERENCES = """
SELECT f.conrelid::int8, f.conname, n.nspname, p.relname,
       ARRAY(SELECT a.attname::text FROM unnest(f.conkey) WITH ORDINALITY k (number, place)
               JOIN pg_catalog.pg_attribute a ON a.attrelid = f.conrelid AND a.attnum = k.number
              ORDER BY k.place),
       ARRAY(SELECT a.attname::text FROM unnest(f.confkey) WITH ORDINALITY k (number, place)
               JOIN pg_catalog.pg_attribute a ON a.attrelid = f.confrelid AND a.attnum = k.number
              ORDER BY k.place)
  FROM pg_catalog.pg_constraint f
  JOIN pg_catalog.pg_class p ON p.oid = f.confrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = p.relnamespace
 WHERE f.contype = 'f' AND f.conparentid = 0 AND f.conrelid = ANY (%(oids)s::oid[])
 ORDER BY f.conrelid, f.conname
"""

JOINT = """
SELECT c.oid::int8, s.statistics_name, s.attnames::text[], s.n_distinct::text, s.dependencies::text,
       s.most_common_freqs::float8[], s.most_common_vals
  FROM pg_catalog.pg_stats_ext s
  JOIN pg_catalog.pg_namespace n ON n.nspname = s.schemaname
  JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = s.tablename
 WHERE c.oid = ANY (%(oids)s::oid[]) AND s.inherited = (c.relkind = 'p') ORDER BY s.statistics_name
"""
# pg_stats_ext came to tell inherited statistics apart with version 15
JOINT_14 = JOINT.replace("AND s.inherited = (c.relkind = 'p')", "")
