


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


SET default_tablespace = '';

SET default_table_access_method = heap;


CREATE TABLE public.alembic_version (
    version_num character varying(32) NOT NULL
);



CREATE TABLE public.idempotency_keys (
    principal text NOT NULL,
    key text NOT NULL,
    request text NOT NULL,
    order_id uuid NOT NULL,
    answer text,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);



CREATE TABLE public.order_items (
    id uuid NOT NULL,
    order_id uuid NOT NULL,
    "position" integer NOT NULL,
    product_id text NOT NULL,
    product_name text NOT NULL,
    quantity integer NOT NULL,
    unit_price numeric(12,2) NOT NULL,
    total_price numeric(12,2) NOT NULL,
    CONSTRAINT price_not_negative CHECK ((unit_price >= (0)::numeric)),
    CONSTRAINT quantity_positive CHECK ((quantity > 0)),
    CONSTRAINT total_is_product CHECK ((total_price = ((quantity)::numeric * unit_price)))
);



CREATE TABLE public.orders (
    id uuid NOT NULL,
    order_number text NOT NULL,
    customer_name text NOT NULL,
    customer_email text NOT NULL,
    total_amount numeric(12,2) NOT NULL,
    status text NOT NULL,
    cancelled_by text,
    cancel_reason text,
    lease_until timestamp with time zone,
    stock_debt boolean DEFAULT false NOT NULL,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    updated_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT cancelled_by_known CHECK ((cancelled_by = ANY (ARRAY['CALLER'::text, 'PLACING'::text, 'RECOVERY'::text]))),
    CONSTRAINT cancelled_by_someone CHECK (((status = 'CANCELLED'::text) = (cancelled_by IS NOT NULL))),
    CONSTRAINT debt_only_when_cancelled CHECK (((NOT stock_debt) OR (status = 'CANCELLED'::text))),
    CONSTRAINT status_known CHECK ((status = ANY (ARRAY['PENDING'::text, 'CONFIRMED'::text, 'SHIPPED'::text, 'DELIVERED'::text, 'CANCELLED'::text]))),
    CONSTRAINT total_not_negative CHECK ((total_amount >= (0)::numeric)),
    CONSTRAINT unfinished_has_a_lease CHECK (((lease_until IS NOT NULL) OR ((status <> 'PENDING'::text) AND (NOT stock_debt))))
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



INSERT INTO public.alembic_version VALUES ('0001');



INSERT INTO public.idempotency_keys VALUES ('email:alice@example.com', 'order-1', '{"customer_name":"Alice Exämple","customer_email":"alice@example.com","items":[{"product_id":"6b0daccc02c737e3936f6527","product_name":"Lamp","quantity":1,"unit_price":49.9}]}', '5189057a-828b-46dc-9bab-42d62b97ae15', '{"id":"5189057a-828b-46dc-9bab-42d62b97ae15","order_number":"ORD-20261130-5189057A82","customer_name":"Alice Exämple","customer_email":"alice@example.com","total_amount":49.9,"status":"CONFIRMED","items":[{"id":"0f5dd65f-c334-4db6-a54f-fd7938ee1d30","product_id":"6b0daccc02c737e3936f6527","product_name":"Lamp","quantity":1,"unit_price":49.9,"total_price":49.9}],"created_at":"2026-11-30T17:05:17.272353Z","updated_at":"2026-11-30T17:05:17.324997Z"}', '2026-11-30 17:05:17.271989+00');
INSERT INTO public.idempotency_keys VALUES ('email:alice@example.com', 'order-2', '{"customer_name":"Alice Exämple","customer_email":"alice@example.com","items":[{"product_id":"6b0daccc02c737e3936f6527","product_name":"Lamp","quantity":2,"unit_price":49.9}]}', '0a4ccf1c-e935-423a-be90-8def84130fe8', '{"id":"0a4ccf1c-e935-423a-be90-8def84130fe8","order_number":"ORD-20261130-0A4CCF1CE9","customer_name":"Alice Exämple","customer_email":"alice@example.com","total_amount":99.8,"status":"CONFIRMED","items":[{"id":"719dab6c-bb91-4a70-abd4-319a4abc8238","product_id":"6b0daccc02c737e3936f6527","product_name":"Lamp","quantity":2,"unit_price":49.9,"total_price":99.8}],"created_at":"2026-11-30T17:05:17.535029Z","updated_at":"2026-11-30T17:05:17.584644Z"}', '2026-11-30 17:05:17.534961+00');
INSERT INTO public.idempotency_keys VALUES ('email:alice@example.com', 'order-3', '{"customer_name":"Alice Exämple","customer_email":"alice@example.com","items":[{"product_id":"6b0daccc02c737e3936f6527","product_name":"Lamp","quantity":3,"unit_price":49.9}]}', 'c7fd6911-a540-4316-9963-c1bd7a11b908', '{"id":"c7fd6911-a540-4316-9963-c1bd7a11b908","order_number":"ORD-20261130-C7FD6911A5","customer_name":"Alice Exämple","customer_email":"alice@example.com","total_amount":149.7,"status":"CONFIRMED","items":[{"id":"7daacdc7-1591-4bfa-82ac-cc8b9f5de381","product_id":"6b0daccc02c737e3936f6527","product_name":"Lamp","quantity":3,"unit_price":49.9,"total_price":149.7}],"created_at":"2026-11-30T17:05:17.710161Z","updated_at":"2026-11-30T17:05:17.730439Z"}', '2026-11-30 17:05:17.710098+00');
INSERT INTO public.idempotency_keys VALUES ('email:alice@example.com', 'order-unpublished', '{"customer_name":"Alice Exämple","customer_email":"alice@example.com","items":[{"product_id":"6b0daccc02c737e3936f6527","product_name":"Lamp","quantity":4,"unit_price":49.9}]}', '4f39b6a0-0c25-4d37-bba0-0537dd7167e6', '{"id":"4f39b6a0-0c25-4d37-bba0-0537dd7167e6","order_number":"ORD-20261130-4F39B6A00C","customer_name":"Alice Exämple","customer_email":"alice@example.com","total_amount":199.6,"status":"CONFIRMED","items":[{"id":"fab8b68e-5183-4821-8e98-07e6f4c80769","product_id":"6b0daccc02c737e3936f6527","product_name":"Lamp","quantity":4,"unit_price":49.9,"total_price":199.6}],"created_at":"2026-11-30T17:05:19.880678Z","updated_at":"2026-11-30T17:05:19.901739Z"}', '2026-11-30 17:05:19.880615+00');
INSERT INTO public.idempotency_keys VALUES ('email:alice@example.com', 'order-pending', '{"customer_name":"Alice Exämple","customer_email":"alice@example.com","items":[{"product_id":"6b0daccc02c737e3936f6527","product_name":"Lamp","quantity":5,"unit_price":49.9}]}', '990fb920-ee49-4539-9fd4-266fd127dba1', NULL, '2026-11-30 17:05:21.048797+00');



INSERT INTO public.order_items VALUES ('0f5dd65f-c334-4db6-a54f-fd7938ee1d30', '5189057a-828b-46dc-9bab-42d62b97ae15', 0, '6b0daccc02c737e3936f6527', 'Lamp', 1, 49.90, 49.90);
INSERT INTO public.order_items VALUES ('719dab6c-bb91-4a70-abd4-319a4abc8238', '0a4ccf1c-e935-423a-be90-8def84130fe8', 0, '6b0daccc02c737e3936f6527', 'Lamp', 2, 49.90, 99.80);
INSERT INTO public.order_items VALUES ('7daacdc7-1591-4bfa-82ac-cc8b9f5de381', 'c7fd6911-a540-4316-9963-c1bd7a11b908', 0, '6b0daccc02c737e3936f6527', 'Lamp', 3, 49.90, 149.70);
INSERT INTO public.order_items VALUES ('fab8b68e-5183-4821-8e98-07e6f4c80769', '4f39b6a0-0c25-4d37-bba0-0537dd7167e6', 0, '6b0daccc02c737e3936f6527', 'Lamp', 4, 49.90, 199.60);
INSERT INTO public.order_items VALUES ('2f42e515-27fd-4e7d-a11e-8374d8cc357b', '990fb920-ee49-4539-9fd4-266fd127dba1', 0, '6b0daccc02c737e3936f6527', 'Lamp', 5, 49.90, 249.50);



INSERT INTO public.orders VALUES ('5189057a-828b-46dc-9bab-42d62b97ae15', 'ORD-20261130-5189057A82', 'Alice Exämple', 'alice@example.com', 49.90, 'CONFIRMED', NULL, NULL, NULL, false, '2026-11-30 17:05:17.272353+00', '2026-11-30 17:05:17.324997+00');
INSERT INTO public.orders VALUES ('0a4ccf1c-e935-423a-be90-8def84130fe8', 'ORD-20261130-0A4CCF1CE9', 'Alice Exämple', 'alice@example.com', 99.80, 'CANCELLED', 'CALLER', 'Changed my mind', NULL, false, '2026-11-30 17:05:17.535029+00', '2026-11-30 17:05:17.810626+00');
INSERT INTO public.orders VALUES ('c7fd6911-a540-4316-9963-c1bd7a11b908', 'ORD-20261130-C7FD6911A5', 'Alice Exämple', 'alice@example.com', 149.70, 'SHIPPED', NULL, NULL, NULL, false, '2026-11-30 17:05:17.710161+00', '2026-11-30 17:05:18.622438+00');
INSERT INTO public.orders VALUES ('4f39b6a0-0c25-4d37-bba0-0537dd7167e6', 'ORD-20261130-4F39B6A00C', 'Alice Exämple', 'alice@example.com', 199.60, 'CONFIRMED', NULL, NULL, NULL, false, '2026-11-30 17:05:19.880678+00', '2026-11-30 17:05:19.901739+00');
INSERT INTO public.orders VALUES ('990fb920-ee49-4539-9fd4-266fd127dba1', 'ORD-20261130-990FB920EE', 'Alice Exämple', 'alice@example.com', 249.50, 'PENDING', NULL, NULL, '2026-11-30 17:05:36.048851+00', false, '2026-11-30 17:05:21.048852+00', '2026-11-30 17:05:21.048852+00');



INSERT INTO public.outbox OVERRIDING SYSTEM VALUE VALUES (1, '2cbf865e-34d5-4e01-9110-945c03a355e5', 'order-placed', '5189057a-828b-46dc-9bab-42d62b97ae15', '{"event_id":"2cbf865e-34d5-4e01-9110-945c03a355e5","event_type":"ORDER_PLACED","event_version":1,"timestamp":"2026-11-30T17:05:17.387564Z","order_id":"5189057a-828b-46dc-9bab-42d62b97ae15","order_number":"ORD-20261130-5189057A82","customer_name":"Alice Exämple","customer_email":"alice@example.com","total_amount":49.9,"items":[{"product_id":"6b0daccc02c737e3936f6527","product_name":"Lamp","quantity":1,"price":49.9}]}', '00-b79c93f78f9b02c52c062a4bcd2c54da-b8cdb86850018e1f-01', '2026-11-30 17:05:17.434079+00', '2026-11-30 17:05:17.728337+00', NULL, NULL);
INSERT INTO public.outbox OVERRIDING SYSTEM VALUE VALUES (2, '70ac8332-4d9b-482c-b35e-dc72a7a84fe9', 'order-placed', '0a4ccf1c-e935-423a-be90-8def84130fe8', '{"event_id":"70ac8332-4d9b-482c-b35e-dc72a7a84fe9","event_type":"ORDER_PLACED","event_version":1,"timestamp":"2026-11-30T17:05:17.606708Z","order_id":"0a4ccf1c-e935-423a-be90-8def84130fe8","order_number":"ORD-20261130-0A4CCF1CE9","customer_name":"Alice Exämple","customer_email":"alice@example.com","total_amount":99.8,"items":[{"product_id":"6b0daccc02c737e3936f6527","product_name":"Lamp","quantity":2,"price":49.9}]}', '00-18a2f12d6f416c3a40e00a46ed2abf61-afff5587a206d834-01', '2026-11-30 17:05:17.607432+00', '2026-11-30 17:05:17.787378+00', NULL, NULL);
INSERT INTO public.outbox OVERRIDING SYSTEM VALUE VALUES (3, 'b56df668-7a4f-4a0d-8297-4247af300c05', 'order-placed', 'c7fd6911-a540-4316-9963-c1bd7a11b908', '{"event_id":"b56df668-7a4f-4a0d-8297-4247af300c05","event_type":"ORDER_PLACED","event_version":1,"timestamp":"2026-11-30T17:05:17.747612Z","order_id":"c7fd6911-a540-4316-9963-c1bd7a11b908","order_number":"ORD-20261130-C7FD6911A5","customer_name":"Alice Exämple","customer_email":"alice@example.com","total_amount":149.7,"items":[{"product_id":"6b0daccc02c737e3936f6527","product_name":"Lamp","quantity":3,"price":49.9}]}', '00-a2d4ebbbeee1583364c79a0bdcaf5a79-a7a6cffd208ad714-01', '2026-11-30 17:05:17.748365+00', '2026-11-30 17:05:17.810975+00', NULL, NULL);
INSERT INTO public.outbox OVERRIDING SYSTEM VALUE VALUES (4, '8e7a203d-db05-4234-8f90-fca2326eb410', 'order-cancelled', '0a4ccf1c-e935-423a-be90-8def84130fe8', '{"event_id":"8e7a203d-db05-4234-8f90-fca2326eb410","event_type":"ORDER_CANCELLED","event_version":1,"timestamp":"2026-11-30T17:05:17.811519Z","order_id":"0a4ccf1c-e935-423a-be90-8def84130fe8","order_number":"ORD-20261130-0A4CCF1CE9","customer_name":"Alice Exämple","customer_email":"alice@example.com","total_amount":99.8,"items":[{"product_id":"6b0daccc02c737e3936f6527","product_name":"Lamp","quantity":2,"price":49.9}],"reason":"Changed my mind"}', '00-40c2a622d3a2a76882095fa858d3c04c-aaca2237d6e02581-01', '2026-11-30 17:05:17.812367+00', '2026-11-30 17:05:17.829575+00', NULL, NULL);
INSERT INTO public.outbox OVERRIDING SYSTEM VALUE VALUES (5, 'b2525a91-c261-48c2-bf84-1e23302a48f4', 'order-placed', '4f39b6a0-0c25-4d37-bba0-0537dd7167e6', '{"event_id":"b2525a91-c261-48c2-bf84-1e23302a48f4","event_type":"ORDER_PLACED","event_version":1,"timestamp":"2026-11-30T17:05:19.914540Z","order_id":"4f39b6a0-0c25-4d37-bba0-0537dd7167e6","order_number":"ORD-20261130-4F39B6A00C","customer_name":"Alice Exämple","customer_email":"alice@example.com","total_amount":199.6,"items":[{"product_id":"6b0daccc02c737e3936f6527","product_name":"Lamp","quantity":4,"price":49.9}]}', '00-1a3ae9f61172a18500016bfd991869af-dde18057f82aef1f-01', '2026-11-30 17:05:19.915295+00', NULL, NULL, NULL);



SELECT pg_catalog.setval('public.outbox_seq_seq', 5, true);



ALTER TABLE ONLY public.alembic_version
    ADD CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num);



ALTER TABLE ONLY public.idempotency_keys
    ADD CONSTRAINT idempotency_keys_pkey PRIMARY KEY (principal, key);



ALTER TABLE ONLY public.order_items
    ADD CONSTRAINT order_items_pkey PRIMARY KEY (id);



ALTER TABLE ONLY public.orders
    ADD CONSTRAINT orders_order_number_key UNIQUE (order_number);



ALTER TABLE ONLY public.orders
    ADD CONSTRAINT orders_pkey PRIMARY KEY (id);



ALTER TABLE ONLY public.outbox
    ADD CONSTRAINT outbox_event_id_key UNIQUE (event_id);



ALTER TABLE ONLY public.outbox
    ADD CONSTRAINT outbox_pkey PRIMARY KEY (seq);



CREATE INDEX idempotency_keys_by_age ON public.idempotency_keys USING btree (created_at);



CREATE UNIQUE INDEX idempotency_keys_by_order ON public.idempotency_keys USING btree (order_id);



CREATE INDEX order_items_of_order ON public.order_items USING btree (order_id, "position");



CREATE INDEX orders_by_email ON public.orders USING btree (lower(customer_email), created_at DESC, id DESC);



CREATE INDEX orders_by_status ON public.orders USING btree (status, created_at DESC, id DESC);



CREATE INDEX orders_newest ON public.orders USING btree (created_at DESC, id DESC);



CREATE INDEX orders_to_recover ON public.orders USING btree (lease_until) WHERE ((status = 'PENDING'::text) OR stock_debt);



CREATE INDEX outbox_parked ON public.outbox USING btree (key) WHERE (parked_at IS NOT NULL);



CREATE INDEX outbox_pending ON public.outbox USING btree (seq) WHERE ((published_at IS NULL) AND (parked_at IS NULL));



CREATE INDEX outbox_published ON public.outbox USING btree (published_at) WHERE (published_at IS NOT NULL);



CREATE TRIGGER outbox_inserted AFTER INSERT ON public.outbox FOR EACH STATEMENT EXECUTE FUNCTION public.outbox_notify();



ALTER TABLE ONLY public.idempotency_keys
    ADD CONSTRAINT idempotency_keys_order_id_fkey FOREIGN KEY (order_id) REFERENCES public.orders(id) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED;



ALTER TABLE ONLY public.order_items
    ADD CONSTRAINT order_items_order_id_fkey FOREIGN KEY (order_id) REFERENCES public.orders(id) ON DELETE CASCADE;




