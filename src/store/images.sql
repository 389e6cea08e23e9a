
-- Images: `body` is the parsed image as JSON; layers are counted to know which are free to go.
CREATE TABLE images(
    id   TEXT PRIMARY KEY,
    body TEXT NOT NULL
) STRICT;

-- `name:tag` -> image.
CREATE TABLE image_references(
    reference TEXT PRIMARY KEY,
    image     TEXT NOT NULL REFERENCES images(id) ON DELETE CASCADE
) STRICT;
CREATE INDEX image_references_by_image ON image_references(image);

-- Which image uses which layer.
CREATE TABLE image_layers(
    image TEXT NOT NULL REFERENCES images(id) ON DELETE CASCADE,
    layer TEXT NOT NULL,
    PRIMARY KEY (image, layer)
) STRICT, WITHOUT ROWID;
CREATE INDEX image_layers_by_layer ON image_layers(layer);
