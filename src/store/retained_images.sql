
-- Images that were removed by force while containers use them: out of sight, there until the last such container goes.
CREATE TABLE retained_images(
    image TEXT PRIMARY KEY REFERENCES images(id) ON DELETE CASCADE
) STRICT;
