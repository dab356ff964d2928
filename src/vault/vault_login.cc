#include "vault/vault_login.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <boost/json/object.hpp>

#include "base/bytes.h"
#include "json/decode.h"

namespace alga::vault {
namespace {

constexpr std::size_t kMaxTokenBytes = 16U << 10U;

std::unexpected<Error> no_token(std::string message) {
  return fail(Kind::unavailable, "vault.no_token", std::move(message));
}

Result<Secret> read_credential(const std::filesystem::path& file) {
  const int fd = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return no_token("cannot open " + file.string());
  std::array<char, kMaxTokenBytes + 1> buffer;
  std::size_t size = 0;
  for (;;) {
    const ssize_t got = ::read(fd, buffer.data() + size, buffer.size() - size);
    if (got <= 0) break;
    size += static_cast<std::size_t>(got);
  }
  ::close(fd);
  Secret credential(std::string(trim(std::string_view(buffer.data(), size))));
  explicit_bzero(buffer.data(), buffer.size());
  if (credential.empty()) return no_token(file.string() + " is empty");
  if (size > kMaxTokenBytes || !domain::is_header_value(credential.reveal())) {
    return no_token(file.string() + " does not hold a token");
  }
  return credential;
}

/// `{"auth":{"client_token","lease_duration","renewable",…}}`
Result<VaultToken> parse_login(const json::Value& answer) {
  const auto bad = [] {
    return fail(Kind::bad_gateway, "vault.bad_response", "Vault's login answer has no token");
  };
  auto root = json::Object::of(answer);
  if (!root) return bad();
  auto auth = root->object("auth");
  if (!auth) return bad();
  auto token = auth->string("client_token", kMaxTokenBytes);
  const auto lifetime = auth->integer("lease_duration", 0, 10LL * 365 * 24 * 3600);
  const auto renewable = auth->optional_boolean("renewable");
  if (!token || token->empty() || !lifetime || !renewable) return bad();
  return VaultToken{Secret(std::move(*token)), std::chrono::seconds(*lifetime),
                    renewable->value_or(false)};
}

}  // namespace

Result<VaultToken> StaticToken::login(VaultClient& /*client*/) {
  if (token_.empty()) return no_token("the configured Vault token is empty");
  return VaultToken{token_.copy()};
}

TokenFile::Stamp TokenFile::stamp() const {
  struct stat status{};
  if (::stat(file_.c_str(), &status) != 0) return {};
  return {status.st_ino, status.st_size, status.st_mtim.tv_sec, status.st_mtim.tv_nsec};
}

bool TokenFile::changed() {
  const Stamp now = stamp();
  // A file that has gone away for a moment is being replaced: the old token still counts.
  return now.size >= 0 && now != read_;
}

Result<VaultToken> TokenFile::login(VaultClient& /*client*/) {
  // The stamp first: a change while we read makes the next call read again.
  const Stamp before = stamp();
  TRY(Secret token, read_credential(file_));
  read_ = before;
  return VaultToken{std::move(token)};
}

Credential credential_file(std::filesystem::path file) {
  return [file = std::move(file)] { return read_credential(file); };
}

AppRoleLogin::AppRoleLogin(std::string role_id, Credential secret_id, std::string mount)
    : role_id_(std::move(role_id)), secret_id_(std::move(secret_id)), mount_(std::move(mount)) {}

Result<VaultToken> AppRoleLogin::login(VaultClient& client) {
  if (!is_secret_path(mount_)) {
    return fail(Kind::invalid, "vault.invalid_name", "not a mount of Vault");
  }
  TRY(const Secret secret_id, secret_id_());
  const json::Value body =
      boost::json::object{{"role_id", role_id_}, {"secret_id", secret_id.reveal()}};
  TRY(const json::Value answer,
      client.call_without_token("POST", "auth/" + mount_ + "/login", body));
  return parse_login(answer);
}

KubernetesLogin::KubernetesLogin(std::string role, std::string mount,
                                 std::filesystem::path token_file)
    : role_(std::move(role)), mount_(std::move(mount)), token_file_(std::move(token_file)) {}

Result<VaultToken> KubernetesLogin::login(VaultClient& client) {
  if (!is_secret_path(mount_)) {
    return fail(Kind::invalid, "vault.invalid_name", "not a mount of Vault");
  }
  TRY(const Secret jwt, read_credential(token_file_));
  const json::Value body = boost::json::object{{"role", role_}, {"jwt", jwt.reveal()}};
  TRY(const json::Value answer,
      client.call_without_token("POST", "auth/" + mount_ + "/login", body));
  return parse_login(answer);
}

}  // namespace alga::vault
