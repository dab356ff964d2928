#pragma once

#include "domain/ports/install_configs.h"
#include "json/parse.h"

namespace alga::domain {

/// The answer of `POST /internal/runner/install-config`: the reference's members, the seeds' names
/// (`secrets_envelope`, `version`), and what is ours (grant, endpoints, limits, generation).
[[nodiscard]] json::Value install_config_to_json(const InstallConfig& config);

/// What a gateway of another process reads back. Members that it does not know are ignored, because
/// the control plane may be newer. Error: `install_config.malformed`.
[[nodiscard]] Result<InstallConfig> install_config_from_json(const json::Value& value);

}  // namespace alga::domain
