#include "blob/s3_bundle_store.h"

#include "archive/extract.h"
#include "blob/layout.h"
#include "crypto/digest.h"

namespace alga::blob {
namespace {

constexpr std::string_view kEmptySha256 =
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
/// Never written; asking for it shows whether bucket and keys work.
constexpr std::string_view kProbeKey = "alga-probe";
constexpr std::chrono::milliseconds kProbeTimeout{2'000};

std::unexpected<Error> invalid_config(std::string message) {
  return fail(Kind::invalid, "blob.invalid_config", std::move(message));
}

/// The server does not know the access key, or the secret key is not that of the access key: what
/// callers see who read a pair that is being replaced. An answer to HEAD says no reason.
bool is_refusal_of_keys(const ObjectResponse& answer) {
  if (answer.status != 401 && answer.status != 403) return false;
  const std::string code = s3_error_code(answer.error_body);
  return code.empty() || code == "InvalidAccessKeyId" || code == "SignatureDoesNotMatch";
}

bool are_same(const S3Credentials& one, const S3Credentials& other) {
  return one.access_key_id == other.access_key_id && one.session_token == other.session_token &&
         crypto::constant_time_equal(one.secret_access_key.reveal(),
                                     other.secret_access_key.reveal());
}

bool is_bucket_name(std::string_view name) {
  if (name.size() < 3 || name.size() > 63) return false;
  for (const char c : name) {
    const bool fine = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.';
    if (!fine) return false;
  }
  return name.front() != '-' && name.front() != '.' && !name.contains("..");
}

/// `https://` and what follows, without a slash at the end.
struct Endpoint {
  explicit Endpoint(std::string_view text)
      : scheme(text.starts_with("https://")  ? "https://"
               : text.starts_with("http://") ? "http://"
                                             : ""),
        host(text.substr(scheme.size())) {
    if (host.ends_with('/')) host.remove_suffix(1);
  }
  std::string_view scheme, host;
};

bool is_host(std::string_view host) {
  if (host.empty()) return false;
  for (const char c : host) {
    const bool fine = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                      c == '-' || c == '.' || c == ':' || c == '[' || c == ']';
    if (!fine) return false;
  }
  return true;
}

}  // namespace

/// What is sent: nothing, or a file with its size and digest.
struct S3BundleStore::Body {
  std::string file;
  std::uint64_t bytes = 0;
  std::string sha256{kEmptySha256};

  static Result<Body> of_file(const std::string& path) {
    TRY(archive::ByteSource source, archive::file_source(path));
    Body body{.file = path};
    crypto::Sha256 digest;
    for (;;) {
      TRY(const ByteSpan piece, source());
      if (piece.empty()) break;
      digest.update(piece);
      body.bytes += piece.size();
    }
    body.sha256 = digest.finish_hex();
    return body;
  }
};

bool S3BundleStore::is_bucket(std::string_view text) { return is_bucket_name(text); }
bool S3BundleStore::is_prefix(std::string_view text) { return text.empty() || is_object_key(text); }

Status S3BundleStore::check_endpoint(std::string_view text) {
  const Endpoint endpoint(text);
  if (endpoint.scheme.empty()) {
    return invalid_config("the S3 endpoint must be an http or https URL");
  }
  if (!is_host(endpoint.host)) {
    return invalid_config("the S3 endpoint must be a host without a path");
  }
  return {};
}

Result<std::unique_ptr<S3BundleStore>> S3BundleStore::make(Options options,
                                                           CredentialSource credentials,
                                                           ObjectTransport& transport,
                                                           const Clock& clock) {
  TRY_VOID(check_endpoint(options.endpoint));
  if (!is_bucket(options.bucket)) return invalid_config("not the name of an S3 bucket");
  if (!is_prefix(options.prefix)) return invalid_config("not a prefix of S3 keys");
  const Endpoint endpoint(options.endpoint);
  std::string host(endpoint.host);
  std::string scheme(endpoint.scheme);
  if (options.addressing == Options::Addressing::virtual_host) host = options.bucket + '.' + host;
  return std::unique_ptr<S3BundleStore>(new S3BundleStore(std::move(options), std::move(scheme),
                                                          std::move(host), std::move(credentials),
                                                          transport, clock));
}

S3BundleStore::S3BundleStore(Options options, std::string scheme, std::string host,
                             CredentialSource credentials, ObjectTransport& transport,
                             const Clock& clock)
    : options_(std::move(options)),
      scheme_(std::move(scheme)),
      host_(std::move(host)),
      credentials_(std::move(credentials)),
      transport_(transport),
      clock_(clock) {}

ObjectRequest S3BundleStore::sign(const std::string& method, std::string_view key, const Body& body,
                                  const S3Credentials& credentials) const {
  std::string path = "/";
  if (options_.addressing == Options::Addressing::path) path += options_.bucket + '/';
  if (!options_.prefix.empty()) path += options_.prefix + '/';
  path += key;

  const WallTime now = clock_.wall();
  SigV4Request request{.method = method,
                       .path = path,
                       .query = {},
                       .headers = {{"host", host_},
                                   {"x-amz-content-sha256", body.sha256},
                                   {"x-amz-date", amz_date(now)}},
                       .payload_sha256 = body.sha256};
  if (!credentials.session_token.empty()) {
    request.headers.push_back({"x-amz-security-token", credentials.session_token});
  }
  const std::string authorization =
      sigv4_authorization(request, credentials, options_.region, "s3", now);
  ObjectRequest signed_request{.method = method,
                               .url = scheme_ + host_ + uri_encode(path, true),
                               .headers = std::move(request.headers),
                               .body_file = body.file,
                               .body_bytes = body.bytes,
                               .timeout = options_.timeout};
  std::erase_if(signed_request.headers,
                [](const domain::Header& header) { return header.name == "host"; });
  signed_request.headers.push_back({"authorization", authorization});
  return signed_request;
}

Result<ObjectResponse> S3BundleStore::call(const std::string& method, std::string_view key,
                                           const Body& body, std::uint64_t max_bytes,
                                           domain::ByteSink sink) {
  if (!is_object_key(key)) return fail(Kind::invalid, "blob.invalid_key", "not an object key");
  TRY(S3Credentials credentials, credentials_());
  for (int attempt = 1;; ++attempt) {
    // Signed anew for each attempt: the time is part of the signature.
    auto outcome = send_with_retries(
        transport_, [&] { return sign(method, key, body, credentials); }, options_.retries,
        max_bytes, [&sink](ByteSpan piece) { return sink(piece); });
    if (!outcome || !is_refusal_of_keys(*outcome) || attempt >= options_.retries.attempts) {
      return outcome;
    }
    auto newer = successors(credentials);
    if (!newer) return outcome;
    credentials = *std::move(newer);
  }
}

std::optional<S3Credentials> S3BundleStore::successors(const S3Credentials& refused) const {
  std::chrono::milliseconds pause = options_.retries.first_pause;
  for (int look = 1;; ++look) {
    Result<S3Credentials> now = credentials_();
    if (now && !are_same(*now, refused)) return std::move(*now);
    if (look >= options_.retries.attempts) return std::nullopt;
    options_.retries.wait(pause);
    pause *= 2;
  }
}

Status S3BundleStore::get(std::string_view key, std::uint64_t max_bytes, domain::ByteSink sink) {
  TRY(const ObjectResponse answer, call("GET", key, {}, max_bytes, std::move(sink)));
  if (answer.status == 200) return {};
  return fail(remote_error(answer));
}

Status S3BundleStore::put_file(std::string_view key, const std::string& path) {
  if (!is_object_key(key)) return fail(Kind::invalid, "blob.invalid_key", "not an object key");
  TRY(const Body body, Body::of_file(path));
  TRY(const ObjectResponse answer, call("PUT", key, body, 0, discard()));
  if (answer.status == 200 || answer.status == 201 || answer.status == 204) return {};
  Error error = remote_error(answer);
  // There is no missing object to a PUT.
  if (error.code == "blob.not_found")
    error = {Kind::unavailable, "blob.unavailable", error.message};
  return fail(error);
}

/// S3 answers 204 whether or not there was an object, so it is asked first.
Status S3BundleStore::remove(std::string_view key) {
  TRY(const bool there, exists(key));
  if (!there) return fail(Kind::not_found, "blob.not_found", "no such object");
  TRY(const ObjectResponse answer, call("DELETE", key, {}, 0, discard()));
  if (answer.status == 204 || answer.status == 200) return {};
  return fail(remote_error(answer));
}

Result<bool> S3BundleStore::exists(std::string_view key) {
  TRY(const ObjectResponse answer, call("HEAD", key, {}, 0, discard()));
  if (answer.status == 200) return true;
  const Error error = remote_error(answer);
  if (error.code == "blob.not_found") return false;
  return fail(error);
}

/// GET and not HEAD, because the body tells a missing bucket from a missing key.
Status S3BundleStore::probe() {
  TRY(const S3Credentials credentials, credentials_());
  ObjectRequest request = sign("GET", kProbeKey, {}, credentials);
  request.timeout = kProbeTimeout;
  domain::ByteSink sink = discard();
  TRY(const ObjectResponse answer, transport_.send(request, 1U << 10U, sink));
  if (answer.status == 200) return {};
  const Error error = remote_error(answer);
  if (error.code == "blob.not_found") return {};
  return fail(error);
}

}  // namespace alga::blob
