#include "egress/transfer.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <utility>

namespace alga::egress {
namespace {

/// For a loop to come first.
constexpr std::chrono::milliseconds kLater{1'000};
constexpr long kNever = 24L * 60 * 60 * 1000;

template <class T>
void set(CURL* easy, CURLoption option, T value) {
  ALGA_CHECK(curl_easy_setopt(easy, option, value) == CURLE_OK);
}

std::string_view trim_blanks(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

bool names(const domain::Headers& headers, std::string_view name) {
  return domain::find_header(headers, name).has_value();
}

}  // namespace

Transfer::Transfer(TransferSpec spec) : spec_(std::move(spec)) {}

Transfer::~Transfer() {
  curl_slist_free_all(header_list_);
  curl_slist_free_all(address_list_);
  curl_slist_free_all(connect_list_);
  if (upload_ != nullptr) std::fclose(upload_);
}

Status Transfer::prepare(CURL* easy, EndedBy whom) {
  easy_ = easy;
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
      spec_.deadline - std::chrono::steady_clock::now());
  if (left.count() <= 0) return fail(Kind::timeout, "egress.timeout", "the deadline has passed");
  const auto later = whom == EndedBy::loop ? kLater : std::chrono::milliseconds{0};
  set(easy, CURLOPT_TIMEOUT_MS, static_cast<long>((left + later).count()));
  set(easy, CURLOPT_CONNECTTIMEOUT_MS,
      static_cast<long>((std::min(left, connect_timeout) + later).count()));
  if (curl_easy_setopt(easy, CURLOPT_URL, spec_.url.c_str()) != CURLE_OK) {
    return fail(Kind::invalid, "egress.invalid_url", "the URL is not acceptable");
  }
  prepare_security(easy);
  prepare_headers(easy);
  set(easy, CURLOPT_WRITEFUNCTION, &Transfer::on_body);
  set(easy, CURLOPT_WRITEDATA, this);
  set(easy, CURLOPT_HEADERFUNCTION, &Transfer::on_header);
  set(easy, CURLOPT_HEADERDATA, this);
  set(easy, CURLOPT_MAXFILESIZE_LARGE,
      static_cast<curl_off_t>(std::min<std::uint64_t>(spec_.max_response_bytes, 1ULL << 62U)));
  return prepare_body(easy);
}

void Transfer::prepare_security(CURL* easy) {
  // Only what the URL says: no environment, no files, no other schemes, no redirects.
  set(easy, CURLOPT_PROTOCOLS_STR, "http,https");
  set(easy, CURLOPT_REDIR_PROTOCOLS_STR, "https");
  set(easy, CURLOPT_FOLLOWLOCATION, 0L);
  set(easy, CURLOPT_PROXY, "");
  set(easy, CURLOPT_NETRC, static_cast<long>(CURL_NETRC_IGNORED));
  set(easy, CURLOPT_PATH_AS_IS, 1L);
  set(easy, CURLOPT_HTTP_CONTENT_DECODING, 0L);
  // HTTP/1.1 only: a hostile HTTP/2 peer has far more ways to make a client work.
  set(easy, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
  set(easy, CURLOPT_NOSIGNAL, 1L);
  // Without it the end of the loop waits for each name lookup.
  set(easy, CURLOPT_QUICK_EXIT, 1L);
  set(easy, CURLOPT_RESOLVER_START_FUNCTION, &Transfer::on_resolve);
  set(easy, CURLOPT_RESOLVER_START_DATA, this);
  set(easy, CURLOPT_SSL_VERIFYPEER, 1L);
  set(easy, CURLOPT_SSL_VERIFYHOST, 2L);
  set(easy, CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
  if (!spec_.tls.authorities_file.empty()) {
    set(easy, CURLOPT_CAINFO, spec_.tls.authorities_file.c_str());
    set(easy, CURLOPT_CAPATH, static_cast<const char*>(nullptr));
    // Read for each connection: curl would go on with what the file held up to a day ago, and an
    // exchange of the authority would end in refused certificates.
    set(easy, CURLOPT_CA_CACHE_TIMEOUT, 0L);
    // A session that is resumed shows no certificate: it would be believed on the word of an
    // authority that is no longer in the file.
    set(easy, CURLOPT_SSL_SESSIONID_CACHE, 0L);
  }
  if (!spec_.tls.certificate_file.empty()) {
    set(easy, CURLOPT_SSLCERT, spec_.tls.certificate_file.c_str());
    set(easy, CURLOPT_SSLKEY, spec_.tls.key_file.c_str());
  }
  for (const std::string& entry : spec_.fixed_addresses) {
    address_list_ = curl_slist_append(address_list_, entry.c_str());
  }
  if (address_list_ != nullptr) set(easy, CURLOPT_RESOLVE, address_list_);
  if (!spec_.connect_to.empty()) {
    const bool v6 = spec_.connect_to.contains(':');
    const std::string entry = v6 ? "::[" + spec_.connect_to + "]:" : "::" + spec_.connect_to + ":";
    connect_list_ = curl_slist_append(nullptr, entry.c_str());
    set(easy, CURLOPT_CONNECT_TO, connect_list_);
  }
  // A name with several addresses is as many servers of ours: connections spread over them.
  if (!spec_.policy) set(easy, CURLOPT_DNS_SHUFFLE_ADDRESSES, 1L);
  set(easy, CURLOPT_OPENSOCKETFUNCTION, &Transfer::on_open);
  set(easy, CURLOPT_OPENSOCKETDATA, this);
  set(easy, CURLOPT_PREREQFUNCTION, &Transfer::on_connected);
  set(easy, CURLOPT_PREREQDATA, this);
}

void Transfer::prepare_headers(CURL* easy) {
  auto append = [this](const std::string& line) {
    header_list_ = curl_slist_append(header_list_, line.c_str());
  };
  for (const domain::Header& field : spec_.headers) {
    // curl takes `Name:` as "do not send", `Name;` as "send it empty".
    append(field.value.empty() ? field.name + ";" : field.name + ": " + field.value);
  }
  // What curl would add by itself.
  append("Expect:");
  if (!names(spec_.headers, "accept")) append("Accept:");
  if (!names(spec_.headers, "content-type")) append("Content-Type:");
  set(easy, CURLOPT_HTTPHEADER, header_list_);
}

Status Transfer::prepare_body(CURL* easy) {
  if (!spec_.body_file.empty()) {
    upload_ = std::fopen(spec_.body_file.c_str(), "rbe");
    struct stat info{};
    if (upload_ == nullptr || ::fstat(::fileno(upload_), &info) != 0) {
      return fail(Kind::internal, "egress.no_body_file", "the file to send cannot be read");
    }
    set(easy, CURLOPT_UPLOAD, 1L);
    set(easy, CURLOPT_INFILESIZE_LARGE, static_cast<curl_off_t>(info.st_size));
    set(easy, CURLOPT_READFUNCTION, &Transfer::on_upload);
    set(easy, CURLOPT_READDATA, this);
  } else if (spec_.method == "HEAD") {
    set(easy, CURLOPT_NOBODY, 1L);
    return {};
  } else if (spec_.body || spec_.method == "POST" || spec_.method == "PUT" ||
             spec_.method == "PATCH") {
    set(easy, CURLOPT_POST, 1L);
    set(easy, CURLOPT_POSTFIELDS, spec_.body ? spec_.body->data() : "");
    set(easy, CURLOPT_POSTFIELDSIZE_LARGE,
        static_cast<curl_off_t>(spec_.body ? spec_.body->size() : 0));
  } else {
    set(easy, CURLOPT_HTTPGET, 1L);
  }
  set(easy, CURLOPT_CUSTOMREQUEST, spec_.method.c_str());
  return {};
}

bool Transfer::allowed(const sockaddr* address) const {
  if (!spec_.policy) return true;
  domain::AddressBytes bytes{.bytes = {}, .v6 = false};
  std::uint16_t port = 0;
  if (address->sa_family == AF_INET) {
    sockaddr_in v4{};
    std::memcpy(&v4, address, sizeof v4);
    std::memcpy(bytes.bytes.data(), &v4.sin_addr, 4);
    port = ntohs(v4.sin_port);
  } else if (address->sa_family == AF_INET6) {
    sockaddr_in6 v6{};
    std::memcpy(&v6, address, sizeof v6);
    std::memcpy(bytes.bytes.data(), &v6.sin6_addr, 16);
    bytes.v6 = true;
    port = ntohs(v6.sin6_port);
  } else {
    return false;
  }
  return permits(bytes, port);
}

bool Transfer::permits(const domain::AddressBytes& address, std::uint16_t port) const {
  if (!spec_.policy->allows_address(address, port)) return false;
  const bool own =
      spec_.own_addresses && std::ranges::find(*spec_.own_addresses, domain::reached(address)) !=
                                 spec_.own_addresses->end();
  return !own || spec_.policy->names_address(address, port);
}

void Transfer::abandon() {
  abandoned_ = true;
  set(easy_, CURLOPT_TIMEOUT_MS, 0L);
  set(easy_, CURLOPT_CONNECTTIMEOUT_MS, kNever);
  if (!spec_.body) return;
  set(easy_, CURLOPT_POSTFIELDS, "");
  set(easy_, CURLOPT_POSTFIELDSIZE_LARGE, curl_off_t{0});
  spec_.body.reset();
}

void Transfer::tell_resolved() {
  resolving_ = false;
  if (auto resolved = std::exchange(resolved_, nullptr)) resolved();
}

int Transfer::on_resolve(void*, void*, void* self) {
  static_cast<Transfer*>(self)->resolving_ = true;
  return 0;
}

curl_socket_t Transfer::on_open(void* self, curlsocktype purpose, curl_sockaddr* address) {
  auto& transfer = *static_cast<Transfer*>(self);
  transfer.tell_resolved();
  if (transfer.abandoned_ || purpose != CURLSOCKTYPE_IPCXN || !transfer.allowed(&address->addr)) {
    transfer.denied_ = true;
    return CURL_SOCKET_BAD;
  }
  transfer.dialled_ = true;
  return ::socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

/// Also called for a connection that is used again, which on_open() never sees.
int Transfer::on_connected(void* self, char* remote_ip, char*, int remote_port, int) {
  auto& transfer = *static_cast<Transfer*>(self);
  transfer.tell_resolved();
  transfer.connected_ = true;
  if (!transfer.spec_.policy) return CURL_PREREQFUNC_OK;
  const auto address = domain::parse_address(remote_ip);
  const bool good = address && transfer.permits(*address, static_cast<std::uint16_t>(remote_port));
  if (good) return CURL_PREREQFUNC_OK;
  transfer.denied_ = true;
  transfer.dialled_ = false;
  return CURL_PREREQFUNC_ABORT;
}

std::size_t Transfer::on_upload(char* data, std::size_t size, std::size_t count, void* self) {
  auto& transfer = *static_cast<Transfer*>(self);
  const std::size_t got = std::fread(data, 1, size * count, transfer.upload_);
  return std::ferror(transfer.upload_) != 0 ? CURL_READFUNC_ABORT : got;
}

bool Transfer::feeds_sink() const {
  if (!spec_.sink) return false;
  if (!spec_.sink_success_only) return true;
  long status = 0;
  curl_easy_getinfo(easy_, CURLINFO_RESPONSE_CODE, &status);
  return status >= 200 && status < 300;
}

std::size_t Transfer::on_body(char* data, std::size_t size, std::size_t count, void* self) {
  auto& transfer = *static_cast<Transfer*>(self);
  const std::size_t length = size * count;
  transfer.in_body_ = true;
  transfer.body_bytes_ += length;
  if (transfer.body_bytes_ > transfer.spec_.max_response_bytes) {
    transfer.excess_ = Excess::body;
    return CURL_WRITEFUNC_ERROR;
  }
  if (!transfer.feeds_sink()) {
    transfer.body_.append(data, length);
    return length;
  }
  Status taken = transfer.spec_.sink({reinterpret_cast<const std::uint8_t*>(data), length});
  if (taken) return length;
  transfer.sink_error_ = std::move(taken).error();
  return CURL_WRITEFUNC_ERROR;
}

std::size_t Transfer::on_header(char* data, std::size_t size, std::size_t count, void* self) {
  auto& transfer = *static_cast<Transfer*>(self);
  const std::size_t length = size * count;
  transfer.header_bytes_ += length;
  if (transfer.header_bytes_ > transfer.spec_.header_limits.bytes) {
    transfer.excess_ = Excess::header_bytes;
    return 0;
  }
  return transfer.take_header({data, length}) ? length : 0;
}

bool Transfer::take_header(std::string_view line) {
  while (line.ends_with('\n') || line.ends_with('\r')) line.remove_suffix(1);
  if (in_body_) return true;  // trailers are counted and dropped
  if (std::exchange(status_line_next_, false)) {
    const std::size_t blank = line.find(' ');
    interim_ = blank != std::string_view::npos && line.substr(blank + 1).starts_with('1');
    return true;
  }
  if (line.empty()) {  // the end of the fields
    status_line_next_ = interim_;
    in_body_ = !interim_;
    if (interim_) response_.headers.clear();
    return true;
  }
  const std::size_t colon = line.find(':');
  const std::string_view name = line.substr(0, colon);
  const std::string_view value =
      colon == std::string_view::npos ? std::string_view{} : trim_blanks(line.substr(colon + 1));
  if (colon == std::string_view::npos || !domain::is_http_token(name) ||
      !domain::is_header_value(value)) {
    malformed_ = true;
    return false;
  }
  if (response_.headers.size() >= spec_.header_limits.fields) {
    excess_ = Excess::header_fields;
    return false;
  }
  response_.headers.push_back({std::string(name), std::string(value)});
  return true;
}

Result<domain::HttpResponse> Transfer::finish(CURL* easy, CURLcode code) {
  if (sink_error_) return fail(std::move(*sink_error_));
  if (code == CURLE_FILESIZE_EXCEEDED) excess_ = Excess::body;
  switch (excess_) {
    case Excess::none: break;
    case Excess::body:
      return fail(Kind::too_large, "egress.too_large", "the answer is larger than the limit");
    case Excess::header_fields:
      return fail(Kind::too_large, "egress.too_many_headers",
                  "the answer has more header fields than the limit");
    case Excess::header_bytes:
      return fail(Kind::too_large, "egress.headers_too_large",
                  "the header fields of the answer are larger than the limit");
  }
  if (denied_ && !dialled_) {
    return fail(Kind::denied, "egress.denied", "the address of the host is not allowed");
  }
  if (malformed_) {
    return fail(Kind::bad_gateway, "egress.transport", "the answer has a malformed header");
  }
  switch (code) {
    case CURLE_OK: break;
    case CURLE_OPERATION_TIMEDOUT:
      return fail(Kind::timeout, "egress.timeout", "no answer within the deadline");
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
      // After a connection it is the answer that curl did not understand, HTTP/0.9 for one.
      if (connected_) {
        return fail(Kind::bad_gateway, "egress.transport", "the answer is not HTTP/1.1");
      }
      return fail(Kind::invalid, "egress.invalid_url", "the URL is not acceptable");
    default:
      // curl's fixed texts: they name no address that the caller does not know.
      return fail(Kind::bad_gateway, "egress.transport", curl_easy_strerror(code));
  }
  long status = 0;
  curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
  if (status < 200 || status > 999) {
    return fail(Kind::bad_gateway, "egress.transport", "the answer has an impossible status");
  }
  response_.status = static_cast<std::uint16_t>(status);
  const bool without = spec_.method == "HEAD" || status == 204 || status == 304;
  if (!without && !feeds_sink()) response_.body = std::move(body_);
  return std::move(response_);
}

}  // namespace alga::egress
