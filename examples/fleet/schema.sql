-- The devices of all brokers. The database must be UTF-8. The checks keep out what the brokers could not use:
-- one bad row would stop every full copy, because setHashes is all or nothing.
CREATE TABLE device (
  -- Also short enough for a notification, which carries at most 8,000 bytes.
  username text PRIMARY KEY CHECK (username ~ '^[A-Za-z0-9_./@-]{1,200}$'),
  -- $7$, a salt of 12 bytes and a key of 64: what every Mosquitto 2.x reads, and hashPassword makes.
  hash text NOT NULL CHECK (hash ~ '^\$7\$[1-9][0-9]{0,4}\$[A-Za-z0-9+/]{16}\$[A-Za-z0-9+/]{85}[AQgw]==$')
);

-- Tells the agents which rows have changed, when the transaction commits. An empty text: any of them.
CREATE FUNCTION notify_device() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'TRUNCATE' THEN
    PERFORM pg_notify('device', '');
    RETURN NULL;
  END IF;
  IF TG_OP <> 'INSERT' THEN
    PERFORM pg_notify('device', OLD.username);
  END IF;
  IF TG_OP <> 'DELETE' THEN
    PERFORM pg_notify('device', NEW.username);
  END IF;
  RETURN NULL;
END
$$;

CREATE TRIGGER device_changed AFTER INSERT OR UPDATE OR DELETE ON device
  FOR EACH ROW EXECUTE FUNCTION notify_device();
CREATE TRIGGER device_emptied AFTER TRUNCATE ON device
  FOR EACH STATEMENT EXECUTE FUNCTION notify_device();
