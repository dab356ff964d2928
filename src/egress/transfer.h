#pragma once

#include <curl/curl.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/clock.h"
#include "base/result.h"
#include "domain/egress_policy.h"
#include "domain/http.h"
#include "domain/ports/bundle_store.h"

namespace alga::egress {

/// What a name and a connection may take together.
inline constexpr std::chrono::milliseconds connect_timeout{10'000};

/// PEM files for one side of TLS; empty means the system's authorities and no client certificate.
struct ClientTls {
  std::string authorities_file;
  std::string certificate_file;
  std::string key_file;
};

/// Everything about one HTTP request that goes out.
struct TransferSpec {
  std::string method;
  std::string url;
  domain::Headers headers;  ///< checked, without framing fields
  std::optional<std::string> body;
  std::string body_file;  ///< instead of `body`; read on the thread that runs the transfer
  SteadyTime deadline;
  std::uint64_t max_response_bytes = 0;
  domain::HeaderLimits header_limits;  ///< of the answer; interim ones and trailers count as well
  /// Judges every address that is connected to. Null: our own request, any address.
  std::shared_ptr<const domain::EgressPolicy> policy;
  /// Addresses of this machine, which only a `cidr:` rule of the policy opens. May be null.
  std::shared_ptr<const std::vector<domain::AddressBytes>> own_addresses;
  ClientTls tls;
  /// `host:port:address` entries that stand for name resolution; still judged by the policy.
  std::vector<std::string> fixed_addresses;
  /// The only address to connect to, whatever the name; such a connection serves no other address.
  std::string connect_to;
  domain::ByteSink sink;  ///< takes the body instead of HttpResponse::body
  /// Only the body of a 2xx answer goes to the sink; any other is kept, so that it can be read.
  bool sink_success_only = false;
};

/// One request on one curl easy handle. Not thread-safe: the thread that runs the handle owns it.
/// It outlives its use by the handle.
class Transfer {
 public:
  explicit Transfer(TransferSpec spec);
  ~Transfer();
  Transfer(const Transfer&) = delete;
  Transfer& operator=(const Transfer&) = delete;

  /// `resolved` is called once, on the thread that runs the handle, when the name of the host has
  /// been looked up or was not needed. Not called when that fails.
  void when_resolved(std::move_only_function<void()> resolved) { resolved_ = std::move(resolved); }

  /// Who ends it at its deadline. Where a loop does, curl would a second later only: a lookup that
  /// curl gives up is a thread that nobody knows of any more.
  enum class EndedBy : std::uint8_t { curl, loop };
  /// Sets every option on a fresh or reset handle. Fails when the deadline has passed or curl
  /// refuses the URL.
  [[nodiscard]] Status prepare(CURL* easy, EndedBy whom);
  /// While curl waits for a thread of its own to look the name up.
  [[nodiscard]] bool is_resolving() const { return resolving_; }
  /// Nobody waits for the answer any more, but the name is still being looked up: from now on there
  /// is no deadline, nothing is connected to, and what was to be sent is forgotten.
  void abandon();
  /// What the request came to, after curl has ended with `code`.
  [[nodiscard]] Result<domain::HttpResponse> finish(CURL* easy, CURLcode code);

 private:
  static std::size_t on_body(char* data, std::size_t size, std::size_t count, void* self);
  static std::size_t on_header(char* data, std::size_t size, std::size_t count, void* self);
  static std::size_t on_upload(char* data, std::size_t size, std::size_t count, void* self);
  static int on_resolve(void* resolver, void* reserved, void* self);
  static curl_socket_t on_open(void* self, curlsocktype purpose, curl_sockaddr* address);
  static int on_connected(void* self, char* remote_ip, char* local_ip, int remote_port,
                          int local_port);

  void tell_resolved();
  bool take_header(std::string_view line);
  [[nodiscard]] bool feeds_sink() const;
  [[nodiscard]] bool allowed(const sockaddr* address) const;
  [[nodiscard]] bool permits(const domain::AddressBytes& address, std::uint16_t port) const;
  Status prepare_body(CURL* easy);
  void prepare_headers(CURL* easy);
  void prepare_security(CURL* easy);

  TransferSpec spec_;
  CURL* easy_ = nullptr;
  domain::HttpResponse response_;
  std::string body_;
  std::uint64_t body_bytes_ = 0;
  std::uint64_t header_bytes_ = 0;
  bool status_line_next_ = true;
  bool interim_ = false;  // these are the fields of a 1xx answer
  bool in_body_ = false;  // what looks like a header from now on is a trailer
  enum class Excess : std::uint8_t { none, body, header_fields, header_bytes };
  Excess excess_ = Excess::none;
  bool denied_ = false;   // an address was refused …
  bool dialled_ = false;  // … and another one was not
  bool connected_ = false;
  bool malformed_ = false;
  bool resolving_ = false;
  bool abandoned_ = false;
  std::optional<Error> sink_error_;
  std::move_only_function<void()> resolved_;
  curl_slist* header_list_ = nullptr;
  curl_slist* address_list_ = nullptr;
  curl_slist* connect_list_ = nullptr;
  std::FILE* upload_ = nullptr;
};

}  // namespace alga::egress
