"""The same small site, once for each peer: /echo/, /ingest/, /push/, /bye/, /user/ and /room/."""
