#include <utility>

#include "app/settings.h"
#include "app/world_parts.h"
#include "blob/filesystem_bundle_store.h"
#include "blob/http_bundle_store.h"
#include "blob/s3_bundle_store.h"

namespace alga::app {

Status World::Parts::build_database() {
  std::string address = config.text("database.url");
  if (address.empty()) address = "sqlite:" + (data / "alga.db").string();
  TRY(database, sql::open_database(
                    address, {.connections =
                                  static_cast<std::uint32_t>(config.number("database.connections")),
                              .password = secret_setting("database.password"),
                              .statement_timeout = config.duration("database.timeout"),
                              .repeats = &metrics.counter(
                                  "alga_database_repeats_total",
                                  "Transactions that lost against another one and ran again")}));
  return {};
}

Status World::Parts::build_store() {
  std::string kind = config.text("bundles.store");
  // The settings of the earlier runner (BUNDLE_STORE_BASE) know an address and no kind: HTTP.
  const bool address_only = !config.is_set("bundles.store") && !config.text("bundles.url").empty();
  if (address_only && !roles.control_plane) kind = "http";
  if (kind == "filesystem") {
    fs::path root = path_or("bundles.path", data / "bundles");
    // A folder that somebody else fills may be there read only.
    if (roles.control_plane || !fs::is_directory(root)) TRY_VOID(private_folder(root));
    using Access = blob::FileSystemBundleStore::Access;
    store = std::make_unique<blob::FileSystemBundleStore>(
        root, random, roles.control_plane ? Access::read_write : Access::read_only);
    return {};
  }
  egress::ClientTls tls{.authorities_file = config.text("tls.ca")};
  object_transport = std::make_unique<blob::EgressTransport>(*client, tls);
  if (kind == "http") {
    store = std::make_unique<blob::HttpBundleStore>(config.text("bundles.url"), *object_transport);
    return {};
  }
  blob::S3BundleStore::Options options;
  options.endpoint = config.text("bundles.s3.endpoint");
  options.bucket = config.text("bundles.s3.bucket");
  options.region = config.text("bundles.s3.region");
  options.prefix = config.text("bundles.s3.prefix");
  options.addressing = config.flag("bundles.s3.path_style")
                           ? blob::S3BundleStore::Options::Addressing::path
                           : blob::S3BundleStore::Options::Addressing::virtual_host;
  options.timeout = config.duration("bundles.timeout");
  auto credentials = [this]() -> Result<blob::S3Credentials> {
    TRY(std::optional<Secret> access, config.secret("bundles.s3.access_key"));
    TRY(std::optional<Secret> secret, config.secret("bundles.s3.secret_key"));
    if (!access || !secret) {
      return fail(Kind::invalid, "config.missing", "bundles.s3 needs access_key and secret_key");
    }
    return blob::S3Credentials{std::string(access->reveal()), std::move(*secret)};
  };
  TRY(store, blob::S3BundleStore::make(std::move(options), std::move(credentials),
                                       *object_transport, *clock));
  return {};
}

}  // namespace alga::app
