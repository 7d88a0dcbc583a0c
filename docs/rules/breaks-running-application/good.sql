-- expand: both names, kept the same by a trigger while two versions of the application run
SET lock_timeout = '2s';
ALTER TABLE orders ADD COLUMN remark text;
CREATE FUNCTION orders_remark() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        NEW.remark := coalesce(NEW.remark, NEW.note);
        NEW.note := NEW.remark;
    ELSIF NEW.note IS DISTINCT FROM OLD.note THEN
        NEW.remark := NEW.note;
    ELSE
        NEW.note := NEW.remark;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER orders_remark BEFORE INSERT OR UPDATE ON orders
    FOR EACH ROW EXECUTE FUNCTION orders_remark();
-- migrate the rows in batches; contract in a later migration: drop the trigger, then the column
