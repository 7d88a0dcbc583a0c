-- A lending library: not made for any demo. Identity and uuid keys, an enum, checks, a composite key.
CREATE TYPE loan_state AS ENUM ('out', 'returned', 'lost');

CREATE TABLE branches (
    code char(4) PRIMARY KEY,
    title text NOT NULL,
    opened date
);

CREATE TABLE members (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    email varchar(120) NOT NULL UNIQUE,
    full_name text NOT NULL,
    joined_at timestamptz NOT NULL DEFAULT now(),
    fines numeric(8, 2) NOT NULL DEFAULT 0 CHECK (fines >= 0),
    nickname text
);

CREATE TABLE loans (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    member_id uuid NOT NULL REFERENCES members (id),
    branch_code char(4) NOT NULL,
    state loan_state NOT NULL DEFAULT 'out',
    shelf integer NOT NULL,
    barcode varchar(20) NOT NULL,
    due_on date NOT NULL,
    note text,
    returned_at timestamptz
);
CREATE INDEX loans_member_idx ON loans (member_id);

CREATE TABLE loan_events (
    loan_id bigint NOT NULL REFERENCES loans (id),
    seq integer NOT NULL,
    what text NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (loan_id, seq)
);
