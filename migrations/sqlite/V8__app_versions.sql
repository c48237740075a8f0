-- The oldest versions of apps that are served: of the deployment itself, a row a platform.

CREATE TABLE app_versions (
    platform   TEXT NOT NULL PRIMARY KEY,
    minimum    TEXT NOT NULL,
    update_url TEXT NOT NULL                        -- where an older app is updated
) STRICT, WITHOUT ROWID;
