#include "sql/postgres.h"

#include <fmt/format.h>
#include <libpq-fe.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <random>
#include <string_view>
#include <thread>
#include <utility>

#include "sql/error.h"
#include "sql/postgres_connection.h"

namespace alga::sql {
namespace {

using Connection = std::unique_ptr<PostgresConnection>;

/// At most `limit` connections, made on demand, used last in first out.
class ConnectionPool {
 public:
  ConnectionPool(std::string address, OpenOptions options)
      : address_(std::move(address)),
        options_(std::move(options)),
        limit_(std::max(options_.connections, 1U)) {}

  /// A borrowed connection; gives itself back.
  class Lease {
   public:
    Lease(ConnectionPool& pool, Connection connection, bool fresh)
        : pool_(&pool), connection_(std::move(connection)), fresh_(fresh) {}
    Lease(Lease&&) = default;
    Lease& operator=(Lease&&) = delete;
    ~Lease() {
      if (connection_) pool_->give_back(std::move(connection_));
    }
    [[nodiscard]] PostgresConnection& operator*() const { return *connection_; }
    [[nodiscard]] PostgresConnection* operator->() const { return connection_.get(); }
    /// True when the connection had slept in the pool and turned out to be dead.
    [[nodiscard]] bool stale() const { return !fresh_ && !connection_->usable(); }

   private:
    ConnectionPool* pool_;
    Connection connection_;
    bool fresh_;
  };

  Result<Lease> take(SteadyTime deadline) {
    {
      std::unique_lock lock(mutex_);
      bool got =
          returned_.wait_until(lock, deadline, [&] { return !idle_.empty() || made_ < limit_; });
      if (!got) {
        return fail(Error{Kind::unavailable, "sql.busy", "no connection became free in time", 1});
      }
      if (!idle_.empty()) {
        Connection connection = std::move(idle_.back());
        idle_.pop_back();
        return Lease{*this, std::move(connection), false};
      }
      ++made_;
    }
    auto connection = PostgresConnection::open(address_, options_, deadline);
    if (!connection) {
      forget();
      return fail(std::move(connection).error());
    }
    return Lease{*this, std::move(*connection), true};
  }

  void give_back(Connection connection) {
    // Work that left by an exception leaves its transaction open: that connection is dropped too.
    if (!connection->idle()) {
      connection.reset();
      forget();
      return;
    }
    std::lock_guard lock(mutex_);
    idle_.push_back(std::move(connection));
    returned_.notify_one();
  }

 private:
  void forget() {
    std::lock_guard lock(mutex_);
    --made_;
    returned_.notify_one();
  }

  const std::string address_;
  const OpenOptions options_;
  const std::uint32_t limit_;
  std::mutex mutex_;
  std::condition_variable returned_;
  std::vector<Connection> idle_;
  std::uint32_t made_ = 0;
};

/// Waits a little, longer each time and never twice the same, so that losers do not meet again.
class Backoff {
 public:
  /// False when the deadline leaves no time for another attempt.
  bool pause(SteadyTime deadline) {
    std::uniform_int_distribution<int> spread(1, ceiling_ms_);
    auto wait = std::chrono::milliseconds{spread(generator_)};
    ceiling_ms_ = std::min(ceiling_ms_ * 2, 100);
    if (std::chrono::steady_clock::now() + wait >= deadline) return false;
    std::this_thread::sleep_for(wait);
    return true;
  }

 private:
  std::minstd_rand generator_{std::random_device{}()};
  int ceiling_ms_ = 2;
};

class PostgresListener final : public Listener {
 public:
  explicit PostgresListener(Connection connection) : connection_(std::move(connection)) {}
  Result<std::size_t> wait(SteadyTime deadline) override { return connection_->notices(deadline); }

 private:
  Connection connection_;
};

class PostgresDatabase final : public Database {
 public:
  PostgresDatabase(std::string address, OpenOptions options)
      : address_(std::move(address)), options_(std::move(options)), pool_(address_, options_) {}

  [[nodiscard]] Dialect dialect() const override { return Dialect::postgres; }

  Status probe() override {
    return read(
        [](Executor& sql) -> Status {
          TRY_VOID(sql.query("SELECT 1"));
          return {};
        },
        within(std::chrono::seconds{1}));
  }

  Result<std::unique_ptr<Listener>> listen(std::string_view channel, SteadyTime deadline) override {
    TRY(Connection connection, PostgresConnection::open(address_, options_, deadline));
    TRY_VOID(connection->script("LISTEN " + std::string(channel)));
    return std::make_unique<PostgresListener>(std::move(connection));
  }

 protected:
  Status run_read(SteadyTime deadline, Work work) override {
    while (true) {
      TRY(auto connection, pool_.take(deadline));
      connection->set_deadline(deadline);
      Status status = work(*connection);
      // A connection that slept in the pool may have died there; the next one is asked instead.
      if (status || !connection.stale() || !is_connection_lost(status.error())) return status;
    }
  }

  Status run_write(const WriteOptions& options, Work work) override {
    Backoff backoff;
    bool again_for_loss = true;
    bool again_for_rival = true;
    while (true) {
      TRY(auto connection, pool_.take(options.deadline));
      connection->set_deadline(options.deadline);
      Status status = try_write(*connection, options, work);
      if (status || std::chrono::steady_clock::now() >= options.deadline) return status;
      if (connection.stale() && is_connection_lost(status.error())) continue;
      // Nothing was committed (that would be `sql.commit_unknown`): a server that was restarted
      // under the work gets it once more.
      if (is_connection_lost(status.error()) && std::exchange(again_for_loss, false)) continue;
      // Who lost a race for a key learns it from the index before the serialisation check has
      // spoken; with the winner's row in sight the work can say what it means.
      if (is_unique_violation(status.error()) && std::exchange(again_for_rival, false)) continue;
      if (!is_contention(status.error())) return status;
      if (!backoff.pause(options.deadline)) return status;
      if (options_.repeats != nullptr) options_.repeats->add();
    }
  }

 private:
  /// How a transaction begins. Idle for longer than anybody waits for it, it holds its locks in
  /// vain.
  static std::string beginning(const WriteOptions& options) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(
        options.deadline - std::chrono::steady_clock::now());
    return fmt::format(
        "BEGIN ISOLATION LEVEL {}; SET LOCAL idle_in_transaction_session_timeout = {}{}",
        options.isolation == Isolation::serializable ? "SERIALIZABLE" : "READ COMMITTED",
        std::clamp<std::int64_t>(left.count(), 1'000, 60'000),
        options.durable == Durable::yes ? "" : "; SET LOCAL synchronous_commit = off");
  }
  static Status try_write(PostgresConnection& connection, const WriteOptions& options, Work& work) {
    TRY_VOID(connection.script(beginning(options)));
    Status status = work(connection);
    if (status) {
      status = connection.commit();
      if (!status && !connection.usable()) {
        return fail(Kind::unavailable, "sql.commit_unknown",
                    "the connection broke while the transaction was being committed");
      }
    }
    if (status || !connection.usable()) return status;
    // The deadline may be the reason for the failure, so the rollback has time of its own.
    connection.set_deadline(within(std::chrono::seconds{5}));
    [[maybe_unused]] Status ignored = connection.script("ROLLBACK");
    return status;
  }

  const std::string address_;
  const OpenOptions options_;
  ConnectionPool pool_;
};

}  // namespace

namespace {

/// libpq looks at these two only when it connects.
bool is_port_list(std::string_view text) {
  while (!text.empty()) {
    const std::size_t comma = std::min(text.find(','), text.size());
    const std::string_view digits = text.substr(0, comma);
    std::uint16_t port = 0;
    const auto [end, code] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
    const bool whole = code == std::errc{} && end == digits.data() + digits.size();
    if (!digits.empty() && (!whole || port == 0)) return false;
    text.remove_prefix(std::min(comma + 1, text.size()));
  }
  return true;
}

bool is_ssl_mode(std::string_view text) {
  constexpr std::array<std::string_view, 6> modes{"disable", "allow",     "prefer",
                                                  "require", "verify-ca", "verify-full"};
  return std::ranges::find(modes, text) != modes.end();
}

}  // namespace

Status check_postgres_address(const std::string& address) {
  const auto refuse = [](std::string message) {
    return fail(Kind::invalid, "sql.invalid_address", std::move(message));
  };
  char* reason = nullptr;  // it may repeat the address
  const std::unique_ptr<PQconninfoOption, decltype(&PQconninfoFree)> options(
      PQconninfoParse(address.c_str(), &reason), &PQconninfoFree);
  PQfreemem(reason);
  if (!options) {
    return refuse("it does not read postgres://user@host:port/name, with libpq's parameters");
  }
  for (const PQconninfoOption* option = options.get(); option->keyword != nullptr; ++option) {
    const std::string_view name = option->keyword;
    const std::string_view value = option->val == nullptr ? "" : option->val;
    if (value.empty()) continue;
    if (name == "port" && !is_port_list(value))
      return refuse("its port is not between 1 and 65535");
    if (name == "sslmode" && !is_ssl_mode(value)) return refuse("its sslmode is none of libpq's");
    if (name == "password") return refuse("it contains a password");
  }
  return {};
}

Result<std::unique_ptr<Database>> open_postgres(const std::string& address, OpenOptions options) {
  return std::make_unique<PostgresDatabase>(address, std::move(options));
}

}  // namespace alga::sql
