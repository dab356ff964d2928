#pragma once

#include <string>
#include <vector>

#include "config/config.h"

namespace alga::app {

using Flags = std::vector<config::Flag>;

// Each is one command of `algad` and returns its exit status: 0 good, 1 failed, 2 bad use.

/// Runs the server until SIGTERM or SIGINT.
[[nodiscard]] int serve(const std::string& config_file, const Flags& flags);
/// Runs the `handler` of one component with minimal host functions, without a server, and asserts
/// that it answers with JSON.
[[nodiscard]] int smoke(const std::string& component, const std::string& path);
/// Prints imports, the capabilities they need, exports, sizes and warnings.
[[nodiscard]] int inspect(const std::string& component, bool as_json);
/// Compiles a component and writes the unsigned artefact: shows that it compiles, and how large it
/// gets. No server loads the file.
[[nodiscard]] int compile(const std::string& component, const std::string& output);
/// Brings the schema of the configured database up to date.
[[nodiscard]] int migrate(const std::string& config_file, const Flags& flags, bool as_json);
/// Recomputes the chain of the audit trail of `tenant`, or of all, and checks every signature, and
/// that it leads through `expect` (`TENANT:BATCH:CHAIN`, with commas between them).
[[nodiscard]] int verify_audit(const std::string& config_file, const Flags& flags,
                               const std::string& tenant, const std::string& expect, bool as_json);
/// Makes a new wrapping key and wraps data keys and signing keys again. May run beside servers.
[[nodiscard]] int rotate_keys(const std::string& config_file, const Flags& flags, bool as_json);
/// What to do with the keys of `sealed:v1` envelopes.
enum class EnvelopeKeyStep { rotate, prepare, use, retire };
/// Changes the ring of the keys of `sealed:v1` envelopes; `id` names the key for `use`. May run
/// beside servers.
[[nodiscard]] int change_envelope_keys(const std::string& config_file, const Flags& flags,
                                       EnvelopeKeyStep step, const std::string& id, bool as_json);
/// What to do with the key that signs compiled code.
enum class ArtefactKeyStep { tell, rotate, prepare, use };
/// Prints the public half of the key that signs compiled code, which is made when there is none, or
/// changes it: at once, or as a prepared key that is taken into use later, when runners believe it;
/// `key` is its public half. Control planes that run go on with the former one until they start
/// again.
[[nodiscard]] int change_artefact_key(const std::string& config_file, const Flags& flags,
                                      ArtefactKeyStep step, const std::string& key, bool as_json);
/// Of this program, such as `1.4.0`.
[[nodiscard]] std::string program_version();
/// Prints the versions of the program and of the schema that it needs.
[[nodiscard]] int version(bool as_json);
[[nodiscard]] int check_config(const std::string& config_file, const Flags& flags);
[[nodiscard]] int print_config(const std::string& config_file, const Flags& flags);

}  // namespace alga::app
