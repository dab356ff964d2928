#include "control_plane/services.h"

namespace alga::control_plane {
namespace {

Result<httpd::Response> set_pilots(Services& services, const Call& call) {
  TRY(auto document, call.body());
  TRY(json::Object root, json::Object::of(document.value()));
  TRY(auto tenants, root.optional_strings("tenants", 10'000));
  TRY_VOID(root.finish());
  TRY_VOID(services.registry.restrict_to(call.caller, call.param("extension"), tenants));
  TRY(auto extension, services.registry.get(call.caller, call.param("extension")));
  return json_answer(200, boost::json::object{{"extension", std::move(extension)}});
}

}  // namespace

void add_registry_routes(Api& api, Services& services) {
  api.add("GET", "/api/v1/extensions", Access::anyone_signed_in,
          [&services](const Call& call) -> Result<httpd::Response> {
            TRY(auto extensions, services.registry.list(call.caller));
            boost::json::array array;
            for (auto& extension : extensions) array.push_back(std::move(extension));
            return json_answer(200, boost::json::object{{"extensions", std::move(array)}});
          });
  api.add("GET", "/api/v1/extensions/{extension}", Access::anyone_signed_in,
          [&services](const Call& call) -> Result<httpd::Response> {
            TRY(auto extension, services.registry.get(call.caller, call.param("extension")));
            return json_answer(200, boost::json::object{{"extension", std::move(extension)}});
          });
  api.add("GET", "/api/v1/extensions/{extension}/versions/{version}/source-map", Access::publishers,
          [&services](const Call& call) -> Result<httpd::Response> {
            TRY(std::string map, services.registry.source_map(call.caller, call.param("extension"),
                                                              call.param("version")));
            return httpd::json_response(200, std::move(map));
          });
  // `{"tenants":[…]}` makes a pilot of it, `{}` or null opens it to everybody.
  api.add("PUT", "/api/v1/extensions/{extension}/pilot", Access::operators,
          [&services](const Call& call) { return set_pilots(services, call); });
}

}  // namespace alga::control_plane
