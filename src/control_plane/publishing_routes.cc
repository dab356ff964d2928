#include <charconv>

#include "blob/layout.h"
#include "control_plane/services.h"
#include "domain/limits.h"

namespace alga::control_plane {
namespace {

/// The reference's shape: `{success:false,error:{code,message,issues?}}`, ours beside it.
httpd::Response refusal_response(const Refusal& refusal, std::string_view request_id) {
  boost::json::object error{{"code", refusal.code},
                            {"message", refusal.error.message},
                            {"detail_code", refusal.error.code},
                            {"request_id", request_id}};
  if (!refusal.issues.empty()) error["issues"] = refusal.issues;
  auto status = static_cast<std::uint16_t>(http_status(refusal.error.kind));
  auto response = json_answer(status, boost::json::object{{"success", false}, {"error", error}});
  if (refusal.error.retry_after_s > 0) {
    response.set("retry-after", std::to_string(refusal.error.retry_after_s));
  }
  return response;
}

httpd::Response publish_error(const Error& error, std::string_view request_id) {
  return refusal_response(Refusal{error}, request_id);
}

Result<std::optional<std::uint64_t>> size_param(const httpd::Request& request) {
  auto text = request.query_param("size");
  if (!text || text->empty()) return std::optional<std::uint64_t>{};
  std::uint64_t size = 0;
  auto [end, code] = std::from_chars(text->data(), text->data() + text->size(), size);
  if (code != std::errc{} || end != text->data() + text->size()) {
    return invalid("size is not a number");
  }
  return std::optional{size};
}

Result<httpd::Response> upload(Services& services, const Call& call) {
  if (Status admitted = services.uploads.admit(call.caller.principal.id); !admitted) {
    return refusal_response(Refusal{admitted.error(), "RATE_LIMIT"}, call.request.request_id);
  }
  TRY(auto size, size_param(call.request));
  auto declared = call.request.query_param("declaredHash");
  if (declared && declared->empty()) declared.reset();
  auto stored = services.staging.store(
      call.caller, call.request.body_file, call.request.query_param("filename").value_or(""),
      call.request.body_size, call.request.body_sha256, declared, size);
  if (!stored) return refusal_response(stored.error(), call.request.request_id);
  boost::json::object answer{{"upload", boost::json::object{{"key", blob::staging_key(stored->id)},
                                                            {"strategy", "staging"}}},
                             {"filename", stored->filename},
                             {"size", stored->size},
                             {"contentHash", "sha256:" + stored->content_hash}};
  if (declared) answer["declaredHash"] = *declared;
  return json_answer(200, answer);
}

Result<FinalizeRequest> read_finalize(json::Object root) {
  FinalizeRequest request;
  TRY(request.key, root.string("key", 512));
  TRY(auto size, root.optional_integer("size", 0));
  if (size) request.size = static_cast<std::uint64_t>(*size);
  TRY(request.declared_hash, root.optional_string("declaredHash", 128));
  // The reference lets a caller's manifest win over the bundle's. Here the bundle's is the one that
  // was hashed and signed; the member is read and has no effect.
  (void)root.raw("manifestJson");
  TRY(auto signature, root.optional_object("signature"));
  if (signature) {
    TRY(request.signature_text, signature->optional_string("text", 4096));
    TRY(auto algorithm, signature->optional_string("algorithm", 32));
    if (algorithm && *algorithm != "ed25519") return invalid("signature.algorithm must be ed25519");
  }
  return request;
}

httpd::Response publication_response(const Publication& publication) {
  boost::json::array warnings;
  for (const auto& warning : publication.warnings) {
    warnings.push_back(boost::json::object{{"code", warning.code}, {"message", warning.message}});
  }
  return json_answer(
      200,
      boost::json::object{{"extension", boost::json::object{{"id", publication.extension_id},
                                                            {"name", publication.name},
                                                            {"publisher", publication.publisher},
                                                            {"slug", publication.slug}}},
                          {"version", boost::json::object{{"id", publication.version_id},
                                                          {"version", publication.version}}},
                          {"contentHash", "sha256:" + publication.content_hash},
                          {"canonicalKey", publication.canonical_key},
                          {"warnings", std::move(warnings)}});
}

Result<httpd::Response> finalize(Services& services, const Call& call) {
  TRY(auto document, call.body());
  TRY(json::Object root, json::Object::of(document.value()));
  TRY(FinalizeRequest request, read_finalize(std::move(root)));
  auto published = services.publishing.finalize(call.caller, request);
  if (!published) return refusal_response(published.error(), call.request.request_id);
  if (auto hash = ContentHash::parse(published->content_hash)) services.warm_ups.order(*hash);
  return publication_response(*published);
}

Result<httpd::Response> abort_upload(Services& services, const Call& call) {
  TRY(auto document, call.body());
  TRY(json::Object root, json::Object::of(document.value()));
  TRY(std::string key, root.string("key", 512));
  TRY(bool removed, services.staging.discard(call.caller, key));
  return json_answer(
      200, boost::json::object{
               {"status", removed ? "deleted" : "noop"}, {"key", key}, {"area", "staging"}});
}

}  // namespace

void add_publishing_routes(Api& api, Services& services) {
  std::uint64_t most = services.core.options().publishing.max_archive_bytes;
  const auto too_large = [&metrics = *services.core.deps().metrics](const httpd::Request&) {
    domain::count_limit_hit(metrics, domain::Limit::bundle_archive);
    return std::nullopt;
  };
  api.add("POST", "/api/ext-bundles/upload-proxy", Access::publishers,
          [&services](const Call& call) { return upload(services, call); },
          {.route = {.max_body = most, .spool = true, .too_large = too_large},
           .error = &publish_error});
  api.add("POST", "/api/ext-bundles/finalize", Access::publishers,
          [&services](const Call& call) { return finalize(services, call); },
          {.error = &publish_error});
  api.add("POST", "/api/ext-bundles/abort", Access::publishers,
          [&services](const Call& call) { return abort_upload(services, call); },
          {.error = &publish_error});
}

}  // namespace alga::control_plane
