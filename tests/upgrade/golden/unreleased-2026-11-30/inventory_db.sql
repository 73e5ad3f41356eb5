


SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;


CREATE FUNCTION public.outbox_notify() RETURNS trigger
    LANGUAGE plpgsql
    AS $$ BEGIN PERFORM pg_notify('outbox', ''); RETURN NULL; END $$;



CREATE FUNCTION public.reduce_at_once(this_key text, asked jsonb, products text[], pieces bigint[], low bigint) RETURNS text
    LANGUAGE plpgsql
    AS $$
DECLARE
    fit bigint;
    told text;
BEGIN
    INSERT INTO movement_keys (key, request, state) VALUES (this_key, asked, 'taken')
    ON CONFLICT (key) DO NOTHING;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;

    SELECT count(*) INTO fit FROM (
        SELECT i.quantity - i.reserved_qty AS available, w.n
        FROM inventory i JOIN unnest(products, pieces) AS w (product_id, n) USING (product_id)
        ORDER BY i.product_id
        FOR UPDATE OF i
    ) AS locked
    WHERE available >= n AND (available < low OR available - n >= low);
    IF fit < cardinality(products) THEN
        DELETE FROM movement_keys WHERE key = this_key;
        RETURN NULL;
    END IF;

    WITH moved AS (
        UPDATE inventory i
        SET quantity = i.quantity - w.n, updated_at = clock_timestamp()
        FROM unnest(products, pieces) AS w (product_id, n)
        WHERE i.product_id = w.product_id
        RETURNING i.*, w.n
    ), written AS (
        INSERT INTO stock_movements (key, product_id, kind, delta)
        SELECT this_key, product_id, 'reduce', -n FROM moved
    ), items AS (
        SELECT id, product_id, product_name, quantity, reserved_qty,
            quantity - reserved_qty AS available_qty,
            to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS created_at,
            to_char(updated_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS updated_at
        FROM moved
    )
    SELECT '[' || string_agg(row_to_json(items)::text, ',' ORDER BY product_id) || ']'
    INTO told FROM items;
    UPDATE movement_keys SET answer = told WHERE key = this_key;
    RETURN told;
END $$;


SET default_tablespace = '';

SET default_table_access_method = heap;


CREATE TABLE public.alembic_version (
    version_num character varying(32) NOT NULL
);



CREATE TABLE public.inventory (
    id uuid NOT NULL,
    product_id character varying(100) NOT NULL COLLATE pg_catalog."C",
    product_name character varying(200) NOT NULL,
    quantity bigint NOT NULL,
    reserved_qty bigint NOT NULL,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    updated_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT inventory_product_id_not_empty CHECK (((product_id)::text <> ''::text)),
    CONSTRAINT inventory_quantity_not_negative CHECK ((quantity >= 0)),
    CONSTRAINT inventory_reserved_within CHECK (((reserved_qty >= 0) AND (reserved_qty <= quantity)))
);



CREATE TABLE public.movement_keys (
    key character varying(255) NOT NULL COLLATE pg_catalog."C",
    request jsonb,
    state character varying(10) NOT NULL,
    answer text,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT movement_keys_state CHECK (((state)::text = ANY ((ARRAY['taken'::character varying, 'given'::character varying, 'reversed'::character varying])::text[])))
);



CREATE TABLE public.outbox (
    seq bigint NOT NULL,
    event_id uuid NOT NULL,
    topic text NOT NULL,
    key text NOT NULL,
    payload text NOT NULL,
    traceparent text,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    published_at timestamp with time zone,
    parked_at timestamp with time zone,
    parked_reason text
);



ALTER TABLE public.outbox ALTER COLUMN seq ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.outbox_seq_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);



CREATE TABLE public.stock_movements (
    key character varying(255) NOT NULL COLLATE pg_catalog."C",
    product_id character varying(100) NOT NULL COLLATE pg_catalog."C",
    kind character varying(10) NOT NULL,
    delta bigint NOT NULL,
    at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT stock_movements_delta_not_zero CHECK ((delta <> 0)),
    CONSTRAINT stock_movements_kind CHECK (((kind)::text = ANY ((ARRAY['create'::character varying, 'reduce'::character varying, 'reverse'::character varying, 'restock'::character varying, 'adjust'::character varying, 'delete'::character varying])::text[])))
);



INSERT INTO public.alembic_version VALUES ('0002');



INSERT INTO public.inventory VALUES ('8e43ed24-2529-4691-9a37-804cc3351fae', 'gift card/é', 'Thing', 498, 0, '2026-11-30 17:05:16.762281+00', '2026-11-30 17:05:16.840786+00');
INSERT INTO public.inventory VALUES ('86c8f8af-d32e-44e0-8da6-72febe72a675', '6b0daccc02c737e3936f6527', 'Thing', 991, 0, '2026-11-30 17:05:16.666708+00', '2026-11-30 17:05:19.902137+00');
INSERT INTO public.inventory VALUES ('7cb0bb51-95af-4c57-ad35-9e476d693607', 'nearly-gone', 'Thing', 7, 0, '2026-11-30 17:05:16.78937+00', '2026-11-30 17:05:19.955797+00');



INSERT INTO public.movement_keys VALUES ('reduce-many', '{"kind": "reduce", "items": [["6b0daccc02c737e3936f6527", 2], ["gift card/é", 2]]}', 'taken', '[{"id":"86c8f8af-d32e-44e0-8da6-72febe72a675","product_id":"6b0daccc02c737e3936f6527","product_name":"Thing","quantity":998,"reserved_qty":0,"available_qty":998,"created_at":"2026-11-30T17:05:16.666708Z","updated_at":"2026-11-30T17:05:16.840737Z"},{"id":"8e43ed24-2529-4691-9a37-804cc3351fae","product_id":"gift card/é","product_name":"Thing","quantity":498,"reserved_qty":0,"available_qty":498,"created_at":"2026-11-30T17:05:16.762281Z","updated_at":"2026-11-30T17:05:16.840786Z"}]', '2026-11-30 17:05:16.830417+00');
INSERT INTO public.movement_keys VALUES ('reduce-one', '{"kind": "reduce", "items": [["6b0daccc02c737e3936f6527", 3]]}', 'taken', '[{"id":"86c8f8af-d32e-44e0-8da6-72febe72a675","product_id":"6b0daccc02c737e3936f6527","product_name":"Thing","quantity":995,"reserved_qty":0,"available_qty":995,"created_at":"2026-11-30T17:05:16.666708Z","updated_at":"2026-11-30T17:05:16.879342Z"}]', '2026-11-30 17:05:16.878511+00');
INSERT INTO public.movement_keys VALUES ('restock-one', '{"kind": "restock", "items": [["6b0daccc02c737e3936f6527", 4]]}', 'given', '[{"id":"86c8f8af-d32e-44e0-8da6-72febe72a675","product_id":"6b0daccc02c737e3936f6527","product_name":"Thing","quantity":999,"reserved_qty":0,"available_qty":999,"created_at":"2026-11-30T17:05:16.666708Z","updated_at":"2026-11-30T17:05:16.914734Z"}]', '2026-11-30 17:05:16.903982+00');
INSERT INTO public.movement_keys VALUES ('reversed', '{"kind": "reduce", "items": [["6b0daccc02c737e3936f6527", 5]]}', 'reversed', '{"returned":[{"product_id":"6b0daccc02c737e3936f6527","quantity":5}]}', '2026-11-30 17:05:16.955016+00');
INSERT INTO public.movement_keys VALUES ('never-seen', NULL, 'reversed', '{"returned":[]}', '2026-11-30 17:05:17.00446+00');
INSERT INTO public.movement_keys VALUES ('5189057a-828b-46dc-9bab-42d62b97ae15', '{"kind": "reduce", "items": [["6b0daccc02c737e3936f6527", 1]]}', 'taken', '[{"id":"86c8f8af-d32e-44e0-8da6-72febe72a675","product_id":"6b0daccc02c737e3936f6527","product_name":"Thing","quantity":998,"reserved_qty":0,"available_qty":998,"created_at":"2026-11-30T17:05:16.666708Z","updated_at":"2026-11-30T17:05:17.346023Z"}]', '2026-11-30 17:05:17.341884+00');
INSERT INTO public.movement_keys VALUES ('c7fd6911-a540-4316-9963-c1bd7a11b908', '{"kind": "reduce", "items": [["6b0daccc02c737e3936f6527", 3]]}', 'taken', '[{"id":"86c8f8af-d32e-44e0-8da6-72febe72a675","product_id":"6b0daccc02c737e3936f6527","product_name":"Thing","quantity":993,"reserved_qty":0,"available_qty":993,"created_at":"2026-11-30T17:05:16.666708Z","updated_at":"2026-11-30T17:05:17.741831Z"}]', '2026-11-30 17:05:17.741308+00');
INSERT INTO public.movement_keys VALUES ('0a4ccf1c-e935-423a-be90-8def84130fe8', '{"kind": "reduce", "items": [["6b0daccc02c737e3936f6527", 2]]}', 'reversed', '{"returned":[{"product_id":"6b0daccc02c737e3936f6527","quantity":2}]}', '2026-11-30 17:05:17.564994+00');
INSERT INTO public.movement_keys VALUES ('4f39b6a0-0c25-4d37-bba0-0537dd7167e6', '{"kind": "reduce", "items": [["6b0daccc02c737e3936f6527", 4]]}', 'taken', '[{"id":"86c8f8af-d32e-44e0-8da6-72febe72a675","product_id":"6b0daccc02c737e3936f6527","product_name":"Thing","quantity":991,"reserved_qty":0,"available_qty":991,"created_at":"2026-11-30T17:05:16.666708Z","updated_at":"2026-11-30T17:05:19.902137Z"}]', '2026-11-30 17:05:19.901854+00');



INSERT INTO public.outbox OVERRIDING SYSTEM VALUE VALUES (1, '0d9a42d5-9064-4d69-a16d-9843123a947f', 'inventory-low', 'nearly-gone', '{"event_id":"0d9a42d5-9064-4d69-a16d-9843123a947f","event_type":"INVENTORY_LOW","event_version":1,"timestamp":"2026-11-30T17:05:17.038023Z","product_id":"nearly-gone","product_name":"Thing","available_qty":7,"threshold":10}', '00-562e0b577b1b25ab295d835a1b835bb3-d39a5ee72faa147e-01', '2026-11-30 17:05:17.041562+00', '2026-11-30 17:05:17.136865+00', NULL, NULL);
INSERT INTO public.outbox OVERRIDING SYSTEM VALUE VALUES (2, '2768e7ec-5064-434b-9cf1-9c73d05b496c', 'inventory-low', 'nearly-gone', '{"event_id":"2768e7ec-5064-434b-9cf1-9c73d05b496c","event_type":"INVENTORY_LOW","event_version":1,"timestamp":"2026-11-30T17:05:19.956018Z","product_id":"nearly-gone","product_name":"Thing","available_qty":7,"threshold":10}', '00-2b540480a1836851b7fee6764a464afc-6eca746854de3fc9-01', '2026-11-30 17:05:19.956212+00', NULL, NULL, NULL);



INSERT INTO public.stock_movements VALUES ('create 4be3cb31-cc4f-4472-bc87-e161b21d286b', '6b0daccc02c737e3936f6527', 'create', 1000, '2026-11-30 17:05:16.726694+00');
INSERT INTO public.stock_movements VALUES ('create 47cdc02e-606a-4dee-8551-e9b9fa31d6c3', 'gift card/é', 'create', 500, '2026-11-30 17:05:16.762952+00');
INSERT INTO public.stock_movements VALUES ('create 344592a0-b6cc-4ec6-b166-74f685e7f4d9', 'nearly-gone', 'create', 12, '2026-11-30 17:05:16.798005+00');
INSERT INTO public.stock_movements VALUES ('reduce-many', '6b0daccc02c737e3936f6527', 'reduce', -2, '2026-11-30 17:05:16.840972+00');
INSERT INTO public.stock_movements VALUES ('reduce-many', 'gift card/é', 'reduce', -2, '2026-11-30 17:05:16.841032+00');
INSERT INTO public.stock_movements VALUES ('reduce-one', '6b0daccc02c737e3936f6527', 'reduce', -3, '2026-11-30 17:05:16.879416+00');
INSERT INTO public.stock_movements VALUES ('restock-one', '6b0daccc02c737e3936f6527', 'restock', 4, '2026-11-30 17:05:16.914787+00');
INSERT INTO public.stock_movements VALUES ('reversed', '6b0daccc02c737e3936f6527', 'reduce', -5, '2026-11-30 17:05:16.95597+00');
INSERT INTO public.stock_movements VALUES ('reversed', '6b0daccc02c737e3936f6527', 'reverse', 5, '2026-11-30 17:05:16.99065+00');
INSERT INTO public.stock_movements VALUES ('reduce 433d6933-07d1-477f-ac7f-c5f3cf2b60aa', 'nearly-gone', 'reduce', -5, '2026-11-30 17:05:17.036245+00');
INSERT INTO public.stock_movements VALUES ('5189057a-828b-46dc-9bab-42d62b97ae15', '6b0daccc02c737e3936f6527', 'reduce', -1, '2026-11-30 17:05:17.346121+00');
INSERT INTO public.stock_movements VALUES ('0a4ccf1c-e935-423a-be90-8def84130fe8', '6b0daccc02c737e3936f6527', 'reduce', -2, '2026-11-30 17:05:17.565751+00');
INSERT INTO public.stock_movements VALUES ('c7fd6911-a540-4316-9963-c1bd7a11b908', '6b0daccc02c737e3936f6527', 'reduce', -3, '2026-11-30 17:05:17.741878+00');
INSERT INTO public.stock_movements VALUES ('0a4ccf1c-e935-423a-be90-8def84130fe8', '6b0daccc02c737e3936f6527', 'reverse', 2, '2026-11-30 17:05:18.070588+00');
INSERT INTO public.stock_movements VALUES ('4f39b6a0-0c25-4d37-bba0-0537dd7167e6', '6b0daccc02c737e3936f6527', 'reduce', -4, '2026-11-30 17:05:19.902189+00');
INSERT INTO public.stock_movements VALUES ('restock 45044c9a-013e-4e26-aae0-a9e38a4442d3', 'nearly-gone', 'restock', 5, '2026-11-30 17:05:19.931733+00');
INSERT INTO public.stock_movements VALUES ('reduce 7e0ff0d2-9e84-446d-ad70-9971754e6985', 'nearly-gone', 'reduce', -5, '2026-11-30 17:05:19.955831+00');



SELECT pg_catalog.setval('public.outbox_seq_seq', 2, true);



ALTER TABLE ONLY public.alembic_version
    ADD CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num);



ALTER TABLE ONLY public.inventory
    ADD CONSTRAINT inventory_pkey PRIMARY KEY (id);



ALTER TABLE ONLY public.inventory
    ADD CONSTRAINT inventory_product_id_key UNIQUE (product_id);



ALTER TABLE ONLY public.movement_keys
    ADD CONSTRAINT movement_keys_pkey PRIMARY KEY (key);



ALTER TABLE ONLY public.outbox
    ADD CONSTRAINT outbox_event_id_key UNIQUE (event_id);



ALTER TABLE ONLY public.outbox
    ADD CONSTRAINT outbox_pkey PRIMARY KEY (seq);



ALTER TABLE ONLY public.stock_movements
    ADD CONSTRAINT stock_movements_pkey PRIMARY KEY (key, product_id, kind);



CREATE INDEX outbox_parked ON public.outbox USING btree (key) WHERE (parked_at IS NOT NULL);



CREATE INDEX outbox_pending ON public.outbox USING btree (seq) WHERE ((published_at IS NULL) AND (parked_at IS NULL));



CREATE INDEX outbox_published ON public.outbox USING btree (published_at) WHERE (published_at IS NOT NULL);



CREATE INDEX stock_movements_by_product ON public.stock_movements USING btree (product_id, at);



CREATE TRIGGER outbox_inserted AFTER INSERT ON public.outbox FOR EACH STATEMENT EXECUTE FUNCTION public.outbox_notify();




