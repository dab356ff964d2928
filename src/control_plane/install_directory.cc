#include "control_plane/install_directory.h"

#include "control_plane/cell.h"

namespace alga::control_plane {
namespace {

/// Whoever asks through the port cannot do anything about a database.
template <class T>
Result<T> at_port(Result<T> answer) {
  if (answer || answer.error().kind == Kind::not_found) return answer;
  return fail({Kind::unavailable, "install.unavailable",
               std::string(answer.error().code) + ": " + answer.error().message, 1});
}

}  // namespace

Result<domain::InstalledBundle> SqlInstallDirectory::find_host(const std::string& host) const {
  TRY(auto row, core_.db().read([&](sql::Executor& sql) {
    return sql.find(
        "SELECT tenant, extension_id, content_hash FROM tenant_extension_install WHERE "
        "runner_domain = $1 AND is_enabled = 1 AND status = 'enabled'",
        {host});
  }));
  if (!row) return fail(Kind::not_found, "install.not_found", "no install has this host");
  auto [tenant_text, extension_text, hash_text] = row->as<std::string, std::string, std::string>();
  TRY(TenantId tenant, parsed_cell<TenantId>(tenant_text, "tenant"));
  TRY(ExtensionId extension, parsed_cell<ExtensionId>(extension_text, "extension_id"));
  TRY(ContentHash hash, parsed_cell<ContentHash>(hash_text, "content_hash"));
  return domain::InstalledBundle{std::move(tenant), std::move(extension), std::move(hash)};
}

Result<bool> SqlInstallDirectory::find_installed(const domain::InstalledBundle& bundle) const {
  TRY(auto row, core_.db().read([&](sql::Executor& sql) {
    return sql.find(
        "SELECT 1 FROM tenant_extension_install WHERE tenant = $1 AND extension_id = $2 "
        "AND content_hash = $3 AND is_enabled = 1 AND status = 'enabled'",
        {bundle.tenant.str(), bundle.extension.str(), bundle.content_hash.hex()});
  }));
  return row.has_value();
}

async::Task<Result<domain::InstalledBundle>> SqlInstallDirectory::by_host(std::string host) {
  auto answer = co_await core_.deps().blocking->run(
      [this, host = std::move(host)] { return find_host(host); });
  co_return at_port(std::move(answer));
}

async::Task<Result<bool>> SqlInstallDirectory::is_installed(domain::InstalledBundle bundle) {
  auto answer = co_await core_.deps().blocking->run(
      [this, bundle = std::move(bundle)] { return find_installed(bundle); });
  co_return at_port(std::move(answer));
}

}  // namespace alga::control_plane
