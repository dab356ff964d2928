#include "vault/providers.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <system_error>

#include "base/bytes.h"

namespace alga::vault {
namespace {

namespace fs = std::filesystem;
constexpr std::size_t kMaxSecretBytes = 1U << 20U;

Status check_name(std::string_view name) {
  if (is_identifier(name)) return {};
  return fail(Kind::invalid, "vault.invalid_name", "not the name of a secret");
}

std::unexpected<Error> read_only(std::string_view provider) {
  return fail(Kind::conflict, "vault.read_only",
              "secrets cannot be written to the provider " + std::string(provider));
}

std::unexpected<Error> io_error(int error, std::string_view action) {
  return fail(Kind::unavailable, "vault.io",
              std::string(action) + ": " + std::generic_category().message(error));
}

class OpenFile {
 public:
  explicit OpenFile(int fd) : fd_(fd) {}
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;
  ~OpenFile() {
    if (fd_ >= 0) ::close(fd_);
  }
  [[nodiscard]] int get() const { return fd_; }

 private:
  int fd_;
};

/// None when there is no such file or it is empty.
Result<std::optional<Secret>> read_secret_file(const fs::path& path) {
  const OpenFile file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) {
    if (errno == ENOENT || errno == ENOTDIR) return std::nullopt;
    return io_error(errno, "the secret file " + path.filename().string() + " cannot be opened");
  }
  struct stat status{};
  if (::fstat(file.get(), &status) != 0) return io_error(errno, "stat a secret file");
  if (!S_ISREG(status.st_mode)) return std::nullopt;
  if (std::cmp_greater(status.st_size, kMaxSecretBytes)) {
    return fail(Kind::too_large, "vault.too_large", "a secret file is larger than 1 MiB");
  }
  // One allocation of the right size, so that no copy stays behind in a buffer that grew.
  std::string text(static_cast<std::size_t>(status.st_size), '\0');
  std::size_t size = 0;
  while (size < text.size()) {
    const ssize_t got = ::read(file.get(), text.data() + size, text.size() - size);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return io_error(errno, "read a secret file");
    if (got == 0) break;
    size += static_cast<std::size_t>(got);
  }
  text.resize(size);
  if (text.ends_with('\n')) text.pop_back();
  if (text.ends_with('\r')) text.pop_back();
  if (text.empty()) return std::nullopt;
  return Secret(std::move(text));
}

Status make_private_directories(const fs::path& path) {
  fs::path made;
  for (const fs::path& part : path) {
    made /= part;
    if (::mkdir(made.c_str(), 0700) != 0 && errno != EEXIST) {
      return io_error(errno, "make a directory for secrets");
    }
  }
  return {};
}

}  // namespace

namespace {

/// Held by one writer at a time, of this process or another one; released with the object.
class WriterLock {
 public:
  static Result<WriterLock> take(const fs::path& folder) {
    WriterLock lock(
        ::open((folder / ".lock").c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (lock.file_->get() < 0) return io_error(errno, "open the lock of the secrets");
    while (::flock(lock.file_->get(), LOCK_EX) != 0) {
      if (errno != EINTR) return io_error(errno, "lock the secrets");
    }
    return lock;
  }

 private:
  explicit WriterLock(int fd) : file_(std::make_unique<OpenFile>(fd)) {}
  std::unique_ptr<OpenFile> file_;
};

}  // namespace

EnvironmentSecrets::EnvironmentSecrets(std::string prefix,
                                       std::function<const char*(const char*)> lookup)
    : prefix_(std::move(prefix)), lookup_(std::move(lookup)) {
  if (!lookup_) lookup_ = [](const char* variable) { return std::getenv(variable); };
}

std::optional<Secret> EnvironmentSecrets::read(const std::string& variable) const {
  const char* value = lookup_(variable.c_str());
  if (value == nullptr || *value == '\0') return std::nullopt;
  return Secret(value);
}

Result<std::optional<Secret>> EnvironmentSecrets::app_secret(std::string_view name) {
  TRY_VOID(check_name(name));
  if (!prefix_.empty()) {
    if (auto value = read(prefix_ + '_' + std::string(name))) return value;
  }
  return read(std::string(name));
}

Result<std::optional<Secret>> EnvironmentSecrets::tenant_secret(const TenantId& tenant,
                                                                std::string_view name) {
  TRY_VOID(check_name(name));
  return read("TENANT_" + tenant.str() + '_' + std::string(name));
}

Status EnvironmentSecrets::set_app_secret(std::string_view /*name*/,
                                          std::optional<Secret> /*value*/) {
  return read_only("env");
}

Status EnvironmentSecrets::set_tenant_secret(const TenantId& /*tenant*/, std::string_view /*name*/,
                                             std::optional<Secret> /*value*/) {
  return read_only("env");
}

FileSecrets::FileSecrets(fs::path base, Random& random) : base_(std::move(base)), random_(random) {}

Result<std::optional<Secret>> FileSecrets::app_secret(std::string_view name) {
  TRY_VOID(check_name(name));
  return read_secret_file(base_ / name);
}

Result<std::optional<Secret>> FileSecrets::tenant_secret(const TenantId& tenant,
                                                         std::string_view name) {
  TRY_VOID(check_name(name));
  return read_secret_file(base_ / "tenants" / tenant.str() / name);
}

Status FileSecrets::set_app_secret(std::string_view name, std::optional<Secret> value) {
  TRY_VOID(check_name(name));
  if (!value || value->empty()) return write(base_ / name, std::nullopt);
  TRY_VOID(make_private_directories(base_));
  TRY(const WriterLock lock, WriterLock::take(base_));
  return write(base_ / name, std::move(value));
}

Result<bool> FileSecrets::replace_app_secret(std::string_view name,
                                             const std::optional<Secret>& expected,
                                             const Secret& value) {
  TRY_VOID(check_name(name));
  TRY_VOID(make_private_directories(base_));
  TRY(const WriterLock lock, WriterLock::take(base_));
  TRY(const std::optional<Secret> present, read_secret_file(base_ / name));
  if (!is_same(present, expected)) return false;
  TRY_VOID(write(base_ / name, value.copy()));
  return true;
}

Status FileSecrets::set_tenant_secret(const TenantId& tenant, std::string_view name,
                                      std::optional<Secret> value) {
  TRY_VOID(check_name(name));
  return write(base_ / "tenants" / tenant.str() / name, std::move(value));
}

Status FileSecrets::write(const fs::path& file, std::optional<Secret> value) {
  if (!value || value->empty()) {
    if (::unlink(file.c_str()) == 0 || errno == ENOENT || errno == ENOTDIR) return {};
    return io_error(errno, "remove a secret file");
  }
  if (value->reveal().size() > kMaxSecretBytes) {
    return fail(Kind::too_large, "vault.too_large", "a secret is larger than 1 MiB");
  }
  TRY_VOID(make_private_directories(file.parent_path()));
  std::array<std::uint8_t, 8> suffix{};
  random_.fill(suffix);
  const fs::path temporary = file.parent_path() / (".new-" + hex_encode(suffix));
  const OpenFile out(
      ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (out.get() < 0) return io_error(errno, "create a secret file");
  const auto abandon = [&temporary](int error, std::string_view action) {
    ::unlink(temporary.c_str());
    return io_error(error, action);
  };
  for (std::string_view rest = value->reveal(); !rest.empty();) {
    const ssize_t written = ::write(out.get(), rest.data(), rest.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return abandon(errno, "write a secret file");
    rest.remove_prefix(static_cast<std::size_t>(written));
  }
  if (::fsync(out.get()) != 0) return abandon(errno, "flush a secret file");
  if (::rename(temporary.c_str(), file.c_str()) != 0) return abandon(errno, "rename a secret file");
  const OpenFile directory(::open(file.parent_path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (directory.get() < 0 || ::fsync(directory.get()) != 0) {
    return io_error(errno, "flush the directory of secrets");
  }
  return {};
}

SecretChain::SecretChain(std::vector<Provider> readers, Provider writer, Logger log)
    : readers_(std::move(readers)), writer_(std::move(writer)), log_(std::move(log)) {}

Result<std::optional<Secret>> SecretChain::first(const Read& read) {
  std::optional<Error> failure;
  for (const Provider& provider : readers_) {
    auto value = read(*provider);
    if (value && value->has_value()) return value;
    if (!value && value.error().kind == Kind::invalid) return value;
    if (!value) {
      log_.warn("a secret provider failed and is skipped",
                {{"provider", provider->name()}, {"code", value.error().code}});
      failure = value.error();
    }
  }
  if (failure) return fail(*failure);
  return std::nullopt;
}

Result<std::optional<Secret>> SecretChain::app_secret(std::string_view name) {
  return first([name](domain::SecretProvider& provider) { return provider.app_secret(name); });
}

Result<std::optional<Secret>> SecretChain::tenant_secret(const TenantId& tenant,
                                                         std::string_view name) {
  return first([&tenant, name](domain::SecretProvider& provider) {
    return provider.tenant_secret(tenant, name);
  });
}

Status SecretChain::set_app_secret(std::string_view name, std::optional<Secret> value) {
  if (writer_ == nullptr) return read_only(this->name());
  return writer_->set_app_secret(name, std::move(value));
}

Status SecretChain::set_tenant_secret(const TenantId& tenant, std::string_view name,
                                      std::optional<Secret> value) {
  if (writer_ == nullptr) return read_only(this->name());
  return writer_->set_tenant_secret(tenant, name, std::move(value));
}

Result<bool> SecretChain::replace_app_secret(std::string_view name,
                                             const std::optional<Secret>& expected,
                                             const Secret& value) {
  if (writer_ == nullptr) return read_only(this->name());
  TRY(const std::optional<Secret> present, app_secret(name));
  if (!is_same(present, expected)) return false;
  // What a reader had and the writer has not is written there for the first time.
  TRY(const std::optional<Secret> own, writer_->app_secret(name));
  if (!own) return writer_->replace_app_secret(name, std::nullopt, value);
  return writer_->replace_app_secret(name, expected, value);
}

Result<ChainOrder> parse_chain_order(const std::optional<std::string>& read_chain,
                                     const std::optional<std::string>& writer) {
  const auto known = [](std::string_view name) {
    return name == "env" || name == "filesystem" || name == "vault";
  };
  ChainOrder order;
  order.writer = writer ? to_lower(trim(*writer)) : "filesystem";
  if (!known(order.writer)) {
    return fail(Kind::invalid, "vault.invalid_chain", "unknown secret provider to write to");
  }
  const std::string chain = read_chain ? *read_chain : writer ? "env" : "env,filesystem";
  for (std::string_view rest = chain;;) {
    const std::size_t comma = rest.find(',');
    const std::string name = to_lower(trim(rest.substr(0, comma)));
    if (!known(name) || std::ranges::find(order.readers, name) != order.readers.end()) {
      return fail(Kind::invalid, "vault.invalid_chain",
                  "SECRET_READ_CHAIN lists env, filesystem and vault, each at most once");
    }
    order.readers.push_back(name);
    if (comma == std::string_view::npos) return order;
    rest.remove_prefix(comma + 1);
  }
}

}  // namespace alga::vault
