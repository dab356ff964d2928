#include "domain/install_config_codec.h"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <cstring>

#include "base/bytes.h"
#include "domain/envelope.h"
#include "json/decode.h"

namespace alga::domain {
namespace {

std::unexpected<Error> malformed(std::string message) {
  return fail(Kind::bad_gateway, "install_config.malformed", std::move(message));
}

template <class Parsed>
Result<Parsed> identifier(json::Object& root, std::string_view name) {
  TRY(std::string text, root.string(name, 256));
  auto id = Parsed::parse(text);
  if (!id) return malformed(std::string(name) + " is not an identifier");
  return *id;
}

boost::json::array endpoints_json(const std::vector<Endpoint>& endpoints) {
  boost::json::array array;
  for (const Endpoint& endpoint : endpoints) {
    array.push_back(boost::json::object{{"method", endpoint.method}, {"path", endpoint.path}});
  }
  return array;
}

boost::json::object limits_json(const RequestedLimits& limits) {
  boost::json::object object;
  if (limits.timeout_ms) object["timeout_ms"] = *limits.timeout_ms;
  if (limits.memory_mb) object["memory_mb"] = *limits.memory_mb;
  if (limits.fuel) object["fuel"] = *limits.fuel;
  return object;
}

Result<RequestedLimits> read_limits(json::Object& root) {
  RequestedLimits limits;
  TRY(auto object, root.optional_object("limits"));
  if (!object) return limits;
  auto read = [&](std::string_view name, std::optional<std::uint64_t>& to) -> Status {
    TRY(auto number, object->optional_integer(name, 0));
    if (number) to = static_cast<std::uint64_t>(*number);
    return {};
  };
  TRY_VOID(read("timeout_ms", limits.timeout_ms));
  TRY_VOID(read("memory_mb", limits.memory_mb));
  TRY_VOID(read("fuel", limits.fuel));
  return limits;
}

Result<std::vector<Endpoint>> read_endpoints(json::Object& root) {
  TRY(auto objects, root.objects("endpoints", 1'000));
  std::vector<Endpoint> endpoints;
  for (json::Object& object : objects) {
    Endpoint endpoint;
    TRY(endpoint.method, object.string("method", 16));
    TRY(endpoint.path, object.string("path", 2'048));
    endpoints.push_back(std::move(endpoint));
  }
  return endpoints;
}

/// None when it is not there.
Result<std::shared_ptr<const AnswerKey>> read_answer_key(json::Object& root) {
  TRY(auto object, root.optional_object("answerKey"));
  if (!object) return nullptr;
  TRY(std::string id, object->string("id", 64));
  TRY(std::string encoded, object->string("key", 64));
  auto bytes = base64_decode(encoded);
  explicit_bzero(encoded.data(), encoded.size());
  if (!is_identifier(id) || !bytes || bytes->size() != 32) return malformed("answerKey");
  return std::make_shared<const AnswerKey>(std::move(id), Secret(std::move(*bytes)));
}

Result<InstallConfig> read(json::Object root) {
  TRY(auto tenant, identifier<TenantId>(root, "tenantId"));
  TRY(auto install, identifier<InstallId>(root, "installId"));
  TRY(auto version, identifier<VersionId>(root, "versionId"));
  TRY(auto registry, identifier<ExtensionId>(root, "registryId"));
  TRY(auto hash, identifier<ContentHash>(root, "contentHash"));
  InstallConfig config{.tenant = tenant,
                       .install = install,
                       .version = version,
                       .registry = registry,
                       .content_hash = hash};
  TRY(config.slug, root.string("extensionSlug", 512));
  TRY(config.config, root.string_map("config"));
  TRY(auto providers, root.optional_strings("providers", 64));
  config.providers = providers.value_or(std::vector<std::string>{});
  TRY(auto config_version, root.optional_string("configVersion", 128));
  config.config_version = config_version.value_or("");
  TRY(auto secrets_version, root.optional_string("secretsVersion", 128));
  config.secrets_version = secrets_version.value_or("");
  if (const json::Value* envelope = root.raw("secretEnvelope");
      envelope != nullptr && !envelope->is_null()) {
    TRY(config.envelope, envelope_from_json(*envelope, "/secretEnvelope"));
  }
  TRY(config.grant, root.string("grant", 64U << 10U));
  TRY(std::string expires, root.string("grantExpires", 64));
  auto at = parse_rfc3339(expires);
  if (!at) return malformed("grantExpires is not a time");
  config.grant_expires = *at;
  TRY(config.endpoints, read_endpoints(root));
  TRY(config.endpoints_declared, root.boolean("endpointsDeclared"));
  TRY(config.client_portal, root.boolean("clientPortal"));
  TRY(config.limits, read_limits(root));
  TRY(config.generation, root.string("generation", 128));
  TRY(config.answer_key, read_answer_key(root));
  return config;
}

}  // namespace

json::Value install_config_to_json(const InstallConfig& config) {
  boost::json::object settings;
  for (const auto& [key, value] : config.config) settings[key] = value;
  boost::json::array providers;
  for (const std::string& name : config.providers) providers.emplace_back(name);
  boost::json::object answer{
      {"tenantId", config.tenant.str()},
      {"extensionSlug", config.slug},
      {"installId", config.install.str()},
      {"versionId", config.version.str()},
      {"registryId", config.registry.str()},
      {"contentHash", config.content_hash.prefixed()},
      {"config", std::move(settings)},
      {"providers", std::move(providers)},
      {"configVersion", config.config_version},
      {"secretsVersion", config.secrets_version},
      {"version", config.config_version},
      {"grant", config.grant},
      {"grantExpires", format_rfc3339(config.grant_expires)},
      {"endpoints", endpoints_json(config.endpoints)},
      {"endpointsDeclared", config.endpoints_declared},
      {"clientPortal", config.client_portal},
      {"limits", limits_json(config.limits)},
      {"generation", config.generation},
  };
  if (config.envelope) {
    answer["secretEnvelope"] = envelope_to_json(*config.envelope);
    answer["secrets_envelope"] = answer["secretEnvelope"];
  }
  if (config.answer_key) {
    answer["answerKey"] = {{"id", config.answer_key->id},
                           {"key", base64_encode(as_bytes(config.answer_key->bytes.reveal()))}};
  }
  return answer;
}

Result<InstallConfig> install_config_from_json(const json::Value& value) {
  auto root = json::Object::of(value);
  if (!root) return malformed("the answer is not an object");
  auto config = read(std::move(*root));
  if (!config) return malformed(config.error().message);
  return config;
}

}  // namespace alga::domain
