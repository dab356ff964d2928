#include "control_plane/schema/tables.h"

namespace alga::control_plane::schema {

/// Compiled code in the bundle store, of bundles and therefore of no tenant. `size_bytes` is 0
/// until the artefact is stored; `leaving_at` is set while somebody removes it.
const std::string_view kArtefactTables = R"sql(
CREATE TABLE compiled_artefact (
  content_hash {key} NOT NULL,
  engine {key} NOT NULL,
  size_bytes {int} NOT NULL,
  used_at {int} NOT NULL,
  leaving_at {int},
  PRIMARY KEY (content_hash, engine)
) {strict};
CREATE INDEX compiled_artefact_use ON compiled_artefact (used_at);
)sql";

}  // namespace alga::control_plane::schema
