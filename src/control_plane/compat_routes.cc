#include "control_plane/services.h"

/// The reference's v1 API for its command line: install, uninstall and update by registry id.
namespace alga::control_plane {
namespace {

struct InstallCall {
  TenantId tenant;
  std::string registry_id;
  std::string version;
};

Result<InstallCall> read_call(const Call& call, bool with_version) {
  TRY(auto document, call.body());
  TRY(json::Object root, json::Object::of(document.value()));
  TRY(std::string registry_id, root.string("registryId", 128));
  std::string version;
  if (with_version) {
    TRY(version, root.string("version", 128));
  }
  TRY(TenantId tenant, call.tenant());
  return InstallCall{tenant, std::move(registry_id), std::move(version)};
}

httpd::Response accepted(const InstallRow& install, std::string_view message) {
  return json_answer(
      202,
      boost::json::object{{"data", boost::json::object{{"registryId", install.version.extension_id},
                                                       {"version", install.version.version},
                                                       {"installId", install.id},
                                                       {"success", true},
                                                       {"message", message}}}});
}

Result<httpd::Response> install(Services& services, const Call& call) {
  TRY(InstallCall wanted, read_call(call, true));
  // The reference grants what the manifest declares. Here nothing is granted that nobody listed;
  // the administrator grants afterwards.
  NewInstall request{.extension = wanted.registry_id, .version = wanted.version};
  TRY(auto outcome, services.installs.create(call.caller, wanted.tenant, request));
  return accepted(outcome.install, "installed; capabilities have to be granted");
}

Result<httpd::Response> uninstall(Services& services, const Call& call) {
  TRY(InstallCall wanted, read_call(call, false));
  TRY(InstallRow row, services.installs.get(wanted.tenant, wanted.registry_id));
  TRY_VOID(services.installs.remove(call.caller, wanted.tenant, row.id));
  return accepted(row, "uninstalled");
}

Result<httpd::Response> update(Services& services, const Call& call) {
  TRY(InstallCall wanted, read_call(call, true));
  TRY(auto outcome,
      services.installs.update(call.caller, wanted.tenant, wanted.registry_id, wanted.version));
  return accepted(outcome.install, "updated");
}

}  // namespace

void add_compat_routes(Api& api, Services& services) {
  const ActionOptions changing{.changes_installs = true};
  auto add = [&](std::string_view path, Result<httpd::Response> (*work)(Services&, const Call&)) {
    api.add(
        "POST", path, Access::tenant_admins,
        [&services, work](const Call& call) { return work(services, call); }, changing);
  };
  add("/api/v1/extensions/install", &install);
  add("/api/v1/extensions/uninstall", &uninstall);
  add("/api/v1/extensions/update", &update);
}

}  // namespace alga::control_plane
