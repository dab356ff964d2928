#include "runner/static_ui.h"

#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>

#include "async/await_callback.h"
#include "async/deadline.h"
#include "base/bytes.h"
#include "domain/manifest.h"
#include "runner/ui_rules.h"

namespace alga::runner {
namespace {

using domain::InstalledBundle;

constexpr std::string_view pattern = "/ext-ui/{extension}/{hash}/{path...}";
constexpr std::string_view alias = "/runner/ext-ui/{extension}/{hash}/{path...}";
constexpr std::chrono::hours entry_life{1};

std::string key_of(const ExtensionId& extension, const ContentHash& hash) {
  return extension.str() + '\n' + hash.hex();
}

/// The reference's words for what went wrong, where it has any.
std::string_view word_for(const Error& error) {
  if (error.code == "ui.invalid_hash") return "invalid content hash";
  if (error.code == "ui.invalid_path") return "invalid path";
  if (error.code == "ui.file_too_large") return "asset too large";
  if (error.code == "blob.hash_mismatch") return "archive_hash_mismatch";
  if (error.code.starts_with("archive.")) return "extract_failed";
  return error.code;
}

std::uint16_t status_for(const Error& error) {
  if (error.code == "blob.hash_mismatch") return 502;
  if (error.code.starts_with("archive.")) return 500;
  return static_cast<std::uint16_t>(http_status(error.kind));
}

httpd::Response refusal(const Error& error, std::string_view request_id) {
  const boost::json::object body{
      {"error", word_for(error)}, {"code", error.code}, {"request_id", request_id}};
  httpd::Response response = httpd::json_response(status_for(error), boost::json::serialize(body));
  if (error.retry_after_s != 0) response.set("retry-after", std::to_string(error.retry_after_s));
  return response;
}

std::unexpected<Error> not_found() { return fail(Kind::not_found, "ui.not_found", "no such page"); }

/// The query of the browser's request without the names that we set ourselves.
std::string foreign_query(std::string_view query) {
  std::string kept;
  while (!query.empty()) {
    const std::size_t end = std::min(query.find('&'), query.size());
    const std::string_view pair = query.substr(0, end);
    query.remove_prefix(std::min(end + 1, query.size()));
    const std::string_view name = pair.substr(0, pair.find('='));
    if (pair.empty() || name == "tenant" || name == "extensionId") continue;
    kept.append("&").append(pair);
  }
  return kept;
}

/// For with_deadline(), whose work must own what it refers to.
async::Task<Result<bool>> ask_installed(domain::InstallDirectory* directory,
                                        InstalledBundle bundle) {
  auto answer = co_await directory->is_installed(std::move(bundle));
  co_return answer;
}
async::Task<Result<InstalledBundle>> ask_host(domain::InstallDirectory* directory,
                                              std::string host) {
  auto answer = co_await directory->by_host(std::move(host));
  co_return answer;
}

/// A directory that takes too long is one that does not answer.
template <class T>
Result<T> as_answer(Result<T> outcome) {
  if (outcome || outcome.error().code != "async.deadline") return outcome;
  return fail({Kind::unavailable, "install.unavailable", "the directory is too slow", 1});
}

}  // namespace

StaticUi::StaticUi(Options options, Dependencies dependencies)
    : options_(std::move(options)),
      use_(std::move(dependencies)),
      served_(use_.metrics->counter("alga_ui_requests_total",
                                    "Requests for pages of extensions and their files",
                                    {{"outcome", "served"}})),
      refused_(use_.metrics->counter("alga_ui_requests_total",
                                     "Requests for pages of extensions and their files",
                                     {{"outcome", "refused"}})),
      installed_(options_.max_remembered, *use_.clock),
      tenants_(options_.max_remembered, *use_.clock),
      entries_(options_.max_remembered, *use_.clock) {}

void StaticUi::add_routes(httpd::Router& router) {
  router.add("GET", "/", [this](httpd::Request request) { return redirect(std::move(request)); });
  for (const std::string_view path : {pattern, alias}) {
    router.add("GET", path, [this](httpd::Request request) { return serve(std::move(request)); });
  }
}

async::Task<Result<InstalledBundle>> StaticUi::look_up(std::string host) {
  if (use_.directory == nullptr) {
    co_return fail({Kind::unavailable, "install.unavailable", "no directory of installs", 5});
  }
  auto answer =
      co_await async::with_deadline(ask_host(use_.directory, std::move(host)),
                                    std::chrono::steady_clock::now() + options_.directory_patience);
  co_return as_answer(std::move(answer));
}

async::Task<httpd::Response> StaticUi::redirect(httpd::Request request) {
  const auto host = ui_host(request.header("host").value_or(""));
  if (!host) {
    co_return refusal({Kind::invalid, "ui.invalid_host", "no host name"}, request.request_id);
  }
  const auto found = co_await look_up(*host);
  if (!found) {
    const bool unknown = found.error().kind == Kind::not_found;
    Error error = unknown ? not_found().error() : found.error();
    if (!unknown) error.kind = use_.directory == nullptr ? Kind::unavailable : Kind::bad_gateway;
    co_return refusal(error, request.request_id);
  }
  const std::string& tenant = found->tenant.str();
  const std::string& extension = found->extension.str();
  httpd::Response response;
  response.status = 307;
  response.set("location", "/ext-ui/" + extension + '/' + found->content_hash.prefixed() +
                               "/index.html?tenant=" + tenant + "&extensionId=" + extension +
                               foreign_query(request.query));
  response.set("cache-control", "no-store");
  response.set("referrer-policy", "no-referrer");
  co_return response;
}

async::Task<httpd::Response> StaticUi::serve(httpd::Request request) {
  auto outcome = co_await answer(&request);
  if (outcome) {
    served_.add();
    co_return std::move(*outcome);
  }
  refused_.add();
  use_.log.debug("no page", {{"request_id", request.request_id},
                             {"code", outcome.error().code},
                             {"reason", outcome.error().message}});
  co_return refusal(outcome.error(), request.request_id);
}

async::Task<Result<httpd::Response>> StaticUi::answer(const httpd::Request* request) {
  const auto hash = ContentHash::parse(request->params.at("hash"));
  if (!hash) co_return fail(Kind::invalid, "ui.invalid_hash", "no SHA-256");
  const auto extension = ExtensionId::parse(request->params.at("extension"));
  if (!extension) co_return not_found();
  CO_TRY(std::string path, ui_path(request->params.at("path")));
  CO_TRY(const TenantId tenant, co_await tenant_of(request, *extension, *hash));
  const InstalledBundle wanted{tenant, *extension, *hash};
  if (options_.strict) CO_TRY_VOID(co_await check_installed(wanted));
  CO_TRY(const Bundle bundle, co_await fetch(wanted));
  tenants_.keep(key_of(*extension, *hash), tenant.str(), std::chrono::hours{1});

  const auto entry = entry_of(*bundle);
  if (!entry) co_return not_found();
  const auto header = [request](std::string_view name) {
    return std::string(request->header(name).value_or(""));
  };
  const auto chosen = choose_ui_file(bundle->index(), *entry,
                                     {.path = std::move(path),
                                      .accept = header("accept"),
                                      .accept_encoding = header("accept-encoding"),
                                      .fetch_mode = header("sec-fetch-mode")});
  if (!chosen) co_return not_found();
  if (chosen->file->size > options_.max_file_bytes) {
    co_return fail(Kind::too_large, "ui.file_too_large", "larger than runner.ui.max_file_bytes");
  }
  httpd::Response response;
  response.file = (bundle->root() / chosen->file->path).string();
  response.keep = bundle;
  response.set("content-type", chosen->content_type);
  response.set("etag", "\"sha256-" + chosen->file->sha256 + '"');
  response.set("cache-control", "public, max-age=31536000, immutable");
  if (!chosen->coding.empty()) response.set("content-encoding", std::string(chosen->coding));
  if (chosen->varies_by_coding) response.set("vary", "accept-encoding");
  if (is_ui_document(chosen->content_type)) {
    response.set("content-security-policy", options_.content_policy);
    response.set("referrer-policy", "no-referrer");
  }
  co_return response;
}

/// As the reference looks for it: the query, the header, who was given these pages before (their
/// files are asked for without a query), the host name.
async::Task<Result<TenantId>> StaticUi::tenant_of(const httpd::Request* request,
                                                  ExtensionId extension, ContentHash hash) {
  std::string named = request->query_param("tenant").value_or("");
  if (named.empty()) named = request->header("x-tenant-id").value_or("");
  if (named.empty()) named = tenants_.find(key_of(extension, hash)).value_or("");
  if (!named.empty()) {
    const auto tenant = TenantId::parse(named);
    if (!tenant) co_return not_found();
    co_return *tenant;
  }
  const auto host = ui_host(request->header("host").value_or(""));
  if (!host) co_return not_found();
  const auto found = co_await look_up(*host);
  if (!found && found.error().kind != Kind::not_found) co_return fail(found.error());
  if (!found || found->extension != extension || found->content_hash != hash) {
    co_return not_found();
  }
  co_return found->tenant;
}

async::Task<Status> StaticUi::check_installed(InstalledBundle wanted) {
  if (use_.directory == nullptr) {
    co_return fail({Kind::unavailable, "install.unavailable", "no directory of installs", 5});
  }
  const std::string key =
      wanted.tenant.str() + '\n' + key_of(wanted.extension, wanted.content_hash);
  std::optional<bool> known = installed_.find(key);
  if (!known) {
    auto asked = co_await async::with_deadline(
        ask_installed(use_.directory, std::move(wanted)),
        std::chrono::steady_clock::now() + options_.directory_patience);
    CO_TRY(known, as_answer(std::move(asked)));
    installed_.keep(key, *known, *known ? options_.valid_life : options_.invalid_life);
  }
  if (!*known) co_return not_found();
  co_return Status{};
}

async::Task<Result<StaticUi::Bundle>> StaticUi::fetch(InstalledBundle wanted) {
  using Shared = blob::BundleCache::Shared;
  const Shared shared = options_.strict ? Shared::yes : Shared::no;
  auto bundle = co_await async::await_callback<std::shared_ptr<const blob::CachedBundle>>(
      [cache = use_.bundles, wanted, shared](blob::BundleCache::Done done) {
        cache->get(wanted.tenant, wanted.extension, wanted.content_hash, shared, std::move(done));
      });
  if (!bundle && bundle.error().kind == Kind::not_found) co_return not_found();
  co_return bundle;
}

std::optional<std::string> StaticUi::entry_of(const blob::CachedBundle& bundle) {
  const std::string& key = bundle.hash().hex();
  if (auto known = entries_.find(key)) return *known;
  constexpr std::string_view folder = "ui/";
  // Bundles of the reference may have manifests that ours does not take: their UI is in its place.
  std::optional<std::string> entry = "index.html";
  if (const auto report = domain::parse_manifest(bundle.manifest()); report.manifest) {
    const std::string named = report.manifest->ui_entry.value_or("");
    const bool inside = named.starts_with(folder) && bundle.index().find(named) != nullptr;
    if (inside) entry = named.substr(folder.size());
    if (named.empty()) entry.reset();
  }
  entries_.keep(key, entry, entry_life);
  return entry;
}

}  // namespace alga::runner
