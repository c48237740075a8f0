-- The oldest versions of apps that are served: of the deployment itself, a row a platform. On a distributed Postgres it is a
-- reference table.

CREATE TABLE app_versions (
    platform   text NOT NULL PRIMARY KEY,
    minimum    text NOT NULL,
    update_url text NOT NULL                               -- where an older app is updated
);
