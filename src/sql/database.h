#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/metrics.h"
#include "base/result.h"
#include "base/secret.h"
#include "sql/listener.h"
#include "sql/value.h"

namespace alga::sql {

enum class Dialect : std::uint8_t { sqlite, postgres };

/// The time until which a database call may take. Real time, whatever clock the caller lives by.
[[nodiscard]] inline SteadyTime within(std::chrono::milliseconds span) {
  return std::chrono::steady_clock::now() + span;
}

/// Runs statements on one connection until the deadline of the call that lent it. Parameters are
/// `$1`, `$2`, … in both dialects. Blocking. Not thread-safe. Errors, with SQLSTATE or SQLite's
/// code in the message and never a parameter's value: `sql.unique_violation`,
/// `sql.foreign_key_violation`, `sql.check_violation`, `sql.invalid_text` (NUL or not UTF-8),
/// `sql.busy`, `sql.timeout`, `sql.unavailable`, `sql.disk_full`, `sql.denied` (the database user
/// lacks a right), `sql.corrupt`, `sql.failed`.
class Executor {
 public:
  virtual ~Executor() = default;
  [[nodiscard]] virtual Dialect dialect() const = 0;
  [[nodiscard]] virtual Result<Rows> query(std::string_view sql,
                                           const std::vector<Value>& params) = 0;
  /// Answers the number of rows inserted, changed or deleted.
  virtual Result<std::uint64_t> execute(std::string_view sql, const std::vector<Value>& params) = 0;
  /// Several statements without parameters, for migrations.
  virtual Status script(std::string_view sql) = 0;
  /// What a SELECT ends with so that its rows are locked until the transaction ends.
  [[nodiscard]] std::string_view row_lock() const {
    return dialect() == Dialect::postgres ? " FOR NO KEY UPDATE" : "";
  }

  [[nodiscard]] Result<Rows> query(std::string_view sql, Params params = {}) {
    return query(sql, std::vector<Value>(params));
  }
  Result<std::uint64_t> execute(std::string_view sql, Params params = {}) {
    return execute(sql, std::vector<Value>(params));
  }
  /// The first row, or none.
  [[nodiscard]] Result<std::optional<Row>> find(std::string_view sql, Params params = {}) {
    TRY(Rows rows, query(sql, params));
    if (rows.empty()) return std::optional<Row>{};
    return std::optional<Row>{std::move(rows.front())};
  }
};

/// Whether an acknowledged commit survives the loss of power (`yes`), or only of the process
/// (`no`).
enum class Durable : bool { no, yes };

/// What a transaction that writes sees of those beside it. `serializable`: as if it were alone; who
/// loses against another runs again. `read_committed`: each statement sees what is committed when
/// it begins, rows that it changes or locks (`Executor::row_lock`) are waited for, and nobody runs
/// again, so work that many do to the same rows at once goes on. For work that locks whatever it
/// decides on; those who lock several rows do it in one order. SQLite has one writer at a time and
/// knows no difference.
enum class Isolation : bool { serializable, read_committed };

struct WriteOptions {
  SteadyTime deadline = within(std::chrono::seconds{10});
  Durable durable = Durable::yes;
  Isolation isolation = Isolation::serializable;
};

/// A pool of connections to one database. Thread-safe. Every call blocks the calling thread.
class Database {
 public:
  virtual ~Database() = default;
  [[nodiscard]] virtual Dialect dialect() const = 0;
  /// Cheap reachability check for readiness.
  virtual Status probe() = 0;
  /// A listener on a channel (an identifier). PostgreSQL only; elsewhere `sql.no_notifications`.
  [[nodiscard]] virtual Result<std::unique_ptr<Listener>> listen(std::string_view channel,
                                                                 SteadyTime deadline);

  /// Lends a connection for reading. Each statement sees committed data; two statements of one
  /// call may see different states. `body` must be repeatable: it runs again on a fresh connection
  /// when the first one turns out to be dead.
  template <class Body>
  auto read(Body&& body, SteadyTime deadline = within(std::chrono::seconds{10}))
      -> std::invoke_result_t<Body&, Executor&> {
    return lend<Body>(body, [&](Work work) { return run_read(deadline, std::move(work)); });
  }

  /// Runs `body` in a transaction, a serialisable one unless told otherwise: commits when it
  /// succeeds, rolls back when it fails. A transaction that loses against another one runs again
  /// until the deadline, so `body` must be repeatable. PostgreSQL ends one that has been idle for
  /// as long as it may take, with its locks: its process may be frozen, or its host away.
  /// `sql.commit_unknown`: the connection broke during the commit.
  template <class Body>
  auto write(Body&& body, WriteOptions options = {}) -> std::invoke_result_t<Body&, Executor&> {
    return lend<Body>(body, [&](Work work) { return run_write(options, std::move(work)); });
  }

 protected:
  using Work = std::function<Status(Executor&)>;
  virtual Status run_read(SteadyTime deadline, Work work) = 0;
  virtual Status run_write(const WriteOptions& options, Work work) = 0;

 private:
  template <class Body, class Run>
  static auto lend(Body& body, Run run) -> std::invoke_result_t<Body&, Executor&> {
    using Outcome = std::invoke_result_t<Body&, Executor&>;
    std::optional<Outcome> outcome;
    Status status = run([&](Executor& executor) -> Status {
      outcome.emplace(body(executor));
      if (!*outcome) return fail(outcome->error());
      return {};
    });
    if (!status) return fail(std::move(status).error());
    ALGA_CHECK(outcome.has_value());
    return std::move(*outcome);
  }
};

struct OpenOptions {
  std::uint32_t connections = 8;  ///< bounds the pool
  /// PostgreSQL: asked for each connection, so that a rotated password is used at once; absent or
  /// empty: what the address, the environment or ~/.pgpass says.
  std::function<Result<Secret>()> password;
  /// PostgreSQL: when the server ends a statement that nobody may be waiting for any more.
  std::chrono::milliseconds statement_timeout{60'000};
  /// PostgreSQL: for how long a connection keeps its prepared statements. A plan that was made
  /// while a table was nearly empty reads all of a tenant's rows, and is kept until the table has
  /// been analysed: a minute or more on a new platform, while its tables grow fastest.
  std::chrono::milliseconds plan_life{10'000};
  /// PostgreSQL: counts transactions that lost against another one and run again; null: nobody
  /// does.
  Counter* repeats = nullptr;
};

/// Whether the address could be opened, as far as its text says. Error: `sql.invalid_address`,
/// which never repeats it.
[[nodiscard]] Status check_address(const std::string& address);

/// Opens what the address names: `sqlite:<path>` (the file is made, mode 0600) or a libpq address
/// (`postgres://…` or `postgresql://…`).
[[nodiscard]] Result<std::unique_ptr<Database>> open_database(const std::string& address,
                                                              OpenOptions options = {});
[[nodiscard]] Result<std::unique_ptr<Database>> open_database(const std::string& address,
                                                              std::uint32_t connections);

}  // namespace alga::sql
