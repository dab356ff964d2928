#include "runner/http_install_directory.h"

#include "json/decode.h"

namespace alga::runner {
namespace {

using domain::InstalledBundle;

constexpr std::uint64_t max_answer = 64U << 10U;

std::unexpected<Error> unavailable(std::string why) {
  return fail({Kind::unavailable, "install.unavailable", "the registry: " + std::move(why), 1});
}

Result<InstalledBundle> bundle_of(std::string_view text) {
  const auto document = json::parse(text, {.max_bytes = max_answer, .max_depth = 4});
  if (!document) return unavailable("no JSON");
  TRY(json::Object root, json::Object::of(*document));
  TRY(const std::string tenant_text, root.string("tenant_id"));
  TRY(const std::string extension_text, root.string("extension_id"));
  TRY(const std::string hash_text, root.string("content_hash"));
  const auto tenant = TenantId::parse(tenant_text);
  const auto extension = ExtensionId::parse(extension_text);
  const auto hash = ContentHash::parse(hash_text);
  if (!tenant || !extension || !hash) return unavailable("an identifier is not valid");
  return InstalledBundle{*tenant, *extension, *hash};
}

}  // namespace

HttpInstallDirectory::HttpInstallDirectory(Options options, egress::HttpClient& client)
    : options_(std::move(options)), client_(client) {
  while (options_.url.ends_with('/')) options_.url.pop_back();
}

async::Task<Result<domain::HttpResponse>> HttpInstallDirectory::get(std::string path) {
  CO_TRY(const Secret key, options_.key());
  egress::ClientRequest request{.url = options_.url + path,
                                .headers = {{"x-api-key", std::string(key.reveal())}},
                                .body = {},
                                .timeout = options_.timeout,
                                .max_response_bytes = max_answer,
                                .tls = options_.tls};
  auto response = co_await client_.fetch(std::move(request));
  if (!response) co_return unavailable(std::string(response.error().code));
  co_return response;
}

/// Host names, identifiers and hashes need no escapes in a query.
async::Task<Result<InstalledBundle>> HttpInstallDirectory::by_host(std::string host) {
  CO_TRY(const domain::HttpResponse response,
         co_await get("/api/installs/lookup-by-host?host=" + host));
  if (response.status == 404) co_return fail(Kind::not_found, "install.not_found", "no such host");
  if (response.status != 200) co_return unavailable("status " + std::to_string(response.status));
  auto bundle = bundle_of(response.body.value_or(""));
  if (!bundle) co_return unavailable(bundle.error().message);
  co_return bundle;
}

async::Task<Result<bool>> HttpInstallDirectory::is_installed(InstalledBundle bundle) {
  CO_TRY(const domain::HttpResponse response,
         co_await get("/api/installs/validate?tenant=" + bundle.tenant.str() + "&extension=" +
                      bundle.extension.str() + "&hash=" + bundle.content_hash.hex()));
  if (response.status != 200) co_return unavailable("status " + std::to_string(response.status));
  const auto document =
      json::parse(response.body.value_or(""), {.max_bytes = max_answer, .max_depth = 4});
  const auto* valid =
      document && document->is_object() ? document->get_object().if_contains("valid") : nullptr;
  if (valid == nullptr || !valid->is_bool()) co_return unavailable("no `valid`");
  co_return valid->get_bool();
}

}  // namespace alga::runner
