#include <charconv>

#include "control_plane/cell.h"
#include "control_plane/services.h"
#include "control_plane/storage_codec.h"
#include "control_plane/storage_schemas.h"

namespace alga::control_plane {
namespace {

constexpr std::size_t kNamespaceBytes = 512;

struct Place {
  domain::StorageScope scope;
  std::string ns;
};

/// An install of the caller's tenant, and one of its namespaces.
Result<Place> place_of(Services& services, const Call& call) {
  TRY(TenantId tenant, call.tenant());
  TRY(InstallRow install, services.installs.get(tenant, call.param("installId")));
  TRY(InstallId id, parsed_cell<InstallId>(install.id, "id"));
  TRY(std::string ns, checked_text(call.param("namespace"), "namespace", kNamespaceBytes));
  return Place{{tenant, std::move(id)}, std::move(ns)};
}

Result<std::int64_t> version_of(const Call& call) {
  const std::string text = call.param("version");
  std::int64_t version = 0;
  auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), version);
  if (code != std::errc{} || end != text.data() + text.size() || version < 1) {
    return invalid("the version of a schema is a number from 1");
  }
  return version;
}

Result<httpd::Response> list_schemas(Services& services, const Call& call) {
  TRY(Place place, place_of(services, call));
  TRY(auto schemas, services.storage_schemas.list(place.scope, place.ns));
  boost::json::array array;
  for (const NamespaceSchema& schema : schemas) {
    TRY(boost::json::object one, to_json(schema));
    array.push_back(std::move(one));
  }
  return json_answer(200, boost::json::object{{"schemas", std::move(array)}});
}

Result<httpd::Response> put_schema(Services& services, const Call& call) {
  TRY(Place place, place_of(services, call));
  TRY(std::int64_t version, version_of(call));
  TRY(auto document, call.body());
  TRY(json::Object root, json::Object::of(document.value()));
  TRY(auto status, root.optional_string("status", 32));
  const std::string wanted = status.value_or("active");
  if (wanted != "active" && wanted != "draft" && wanted != "deprecated") {
    return invalid("status must be active, draft or deprecated");
  }
  std::optional<std::string> text;
  if (const json::Value* schema = root.raw("schema")) text = json::canonical(*schema);
  TRY_VOID(root.finish());
  TRY(NamespaceSchema stored,
      services.storage_schemas.put(call.caller, place.scope, place.ns, version, text, wanted));
  TRY(boost::json::object written, to_json(stored));
  return json_answer(200, boost::json::object{{"schema", std::move(written)}});
}

Result<httpd::Response> delete_schema(Services& services, const Call& call) {
  TRY(Place place, place_of(services, call));
  TRY(std::int64_t version, version_of(call));
  TRY_VOID(services.storage_schemas.remove(call.caller, place.scope, place.ns, version));
  return no_content();
}

}  // namespace

void add_storage_schema_routes(Api& api, Services& services) {
  const std::string schemas = "/api/ext-storage/install/{installId}/{namespace}/schemas";
  api.add("GET", schemas, Access::tenant_admins,
          [&services](const Call& call) { return list_schemas(services, call); });
  api.add("PUT", schemas + "/{version}", Access::tenant_admins,
          [&services](const Call& call) { return put_schema(services, call); });
  api.add("DELETE", schemas + "/{version}", Access::tenant_admins,
          [&services](const Call& call) { return delete_schema(services, call); });
}

}  // namespace alga::control_plane
