#include "sql/sqlite.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <map>
#include <mutex>
#include <system_error>
#include <thread>

#include "sql/error.h"

namespace alga::sql {
namespace {

struct CloseDatabase {
  void operator()(sqlite3* handle) const { sqlite3_close_v2(handle); }
};
struct FinalizeStatement {
  void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
};
using Handle = std::unique_ptr<sqlite3, CloseDatabase>;
using Statement = std::unique_ptr<sqlite3_stmt, FinalizeStatement>;

/// How many virtual-machine steps pass between two looks at the clock.
constexpr int kProgressSteps = 5'000;
constexpr std::size_t kCachedStatements = 256;

class SqliteConnection final : public Executor {
 public:
  static Result<std::unique_ptr<SqliteConnection>> open(const std::string& path, bool writer) {
    auto connection = std::make_unique<SqliteConnection>();
    TRY_VOID(connection->start(path, writer));
    return connection;
  }

  void set_deadline(SteadyTime deadline) { deadline_ = deadline; }

  [[nodiscard]] Dialect dialect() const override { return Dialect::sqlite; }

  Result<Rows> query(std::string_view sql, const std::vector<Value>& params) override {
    TRY(sqlite3_stmt * statement, bind(sql, params));
    Reset reset{statement};
    Rows rows;
    while (true) {
      int code = sqlite3_step(statement);
      if (code == SQLITE_DONE) return rows;
      if (code != SQLITE_ROW) return failed();
      rows.push_back(read_row(statement));
    }
  }

  Result<std::uint64_t> execute(std::string_view sql, const std::vector<Value>& params) override {
    TRY_VOID(query(sql, params));
    return static_cast<std::uint64_t>(sqlite3_changes64(handle_.get()));
  }

  Status script(std::string_view sql) override {
    std::string text(sql);
    if (sqlite3_exec(handle_.get(), text.c_str(), nullptr, nullptr, nullptr) != SQLITE_OK) {
      return failed();
    }
    return {};
  }

  using Executor::execute;
  using Executor::query;

  Status begin(Durable durable) {
    doomed_ = false;
    return script(durable == Durable::yes ? "PRAGMA synchronous = FULL; BEGIN IMMEDIATE"
                                          : "PRAGMA synchronous = NORMAL; BEGIN IMMEDIATE");
  }
  /// SQLite would go on after a failed statement; PostgreSQL would not, and that is the contract.
  Status commit() {
    if (doomed_) {
      return fail(Kind::internal, "sql.transaction_failed", "a statement of it failed before");
    }
    return script("COMMIT");
  }
  /// Does nothing when an error has rolled back already.
  void roll_back() {
    // It needs time of its own, because the deadline may be the reason for the rollback.
    set_deadline(within(std::chrono::seconds{5}));
    if (sqlite3_get_autocommit(handle_.get()) == 0) {
      [[maybe_unused]] Status ignored = script("ROLLBACK");
    }
  }

 private:
  struct Reset {
    sqlite3_stmt* statement;
    ~Reset() {
      sqlite3_reset(statement);
      sqlite3_clear_bindings(statement);
    }
  };

  Status start(const std::string& path, bool writer) {
    sqlite3* raw = nullptr;
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX |
                SQLITE_OPEN_EXRESCODE | SQLITE_OPEN_PRIVATECACHE;
    int code = sqlite3_open_v2(path.c_str(), &raw, flags, nullptr);
    handle_.reset(raw);
    if (code != SQLITE_OK) return fail(error());
    for (auto [option, on] : {std::pair{SQLITE_DBCONFIG_DEFENSIVE, 1},
                              {SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0},
                              {SQLITE_DBCONFIG_DQS_DML, 0},
                              {SQLITE_DBCONFIG_DQS_DDL, 0},
                              {SQLITE_DBCONFIG_ENABLE_FKEY, 1}}) {
      sqlite3_db_config(raw, option, on, nullptr);
    }
    sqlite3_progress_handler(raw, kProgressSteps, &SqliteConnection::is_late, this);
    sqlite3_busy_handler(raw, &SqliteConnection::wait_for_lock, this);
    set_deadline(within(std::chrono::seconds{30}));
    TRY_VOID(script("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"));
    if (!writer) TRY_VOID(script("PRAGMA query_only = ON;"));
    return {};
  }

  static int is_late(void* self) {
    return std::chrono::steady_clock::now() > static_cast<SqliteConnection*>(self)->deadline_ ? 1
                                                                                              : 0;
  }

  static int wait_for_lock(void* self, int attempts) {
    if (is_late(self) != 0) return 0;
    std::this_thread::sleep_for(std::chrono::milliseconds{std::min(attempts + 1, 20)});
    return 1;
  }

  [[nodiscard]] Error error() const {
    return from_sqlite(sqlite3_extended_errcode(handle_.get()), sqlite3_errmsg(handle_.get()));
  }

  std::unexpected<Error> failed() {
    doomed_ = true;
    return fail(error());
  }

  Result<sqlite3_stmt*> prepare(std::string_view sql) {
    if (auto found = statements_.find(sql); found != statements_.end()) return found->second.get();
    if (statements_.size() >= kCachedStatements) statements_.clear();
    sqlite3_stmt* raw = nullptr;
    int code = sqlite3_prepare_v3(handle_.get(), sql.data(), static_cast<int>(sql.size()),
                                  SQLITE_PREPARE_PERSISTENT, &raw, nullptr);
    if (code != SQLITE_OK) return failed();
    statements_.emplace(std::string(sql), Statement{raw});
    return raw;
  }

  Result<sqlite3_stmt*> bind(std::string_view sql, const std::vector<Value>& params) {
    TRY_VOID(check_params(params));
    TRY(sqlite3_stmt * statement, prepare(sql));
    for (std::size_t i = 0; i < params.size(); ++i) {
      int index = sqlite3_bind_parameter_index(statement, ("$" + std::to_string(i + 1)).c_str());
      if (index == 0)
        continue;  // PostgreSQL refuses an unused parameter; the contract tests see it
      bind_value(statement, index, params[i]);
    }
    return statement;
  }

  static void bind_value(sqlite3_stmt* statement, int index, const Value& value) {
    // The parameters outlive the step, so nothing is copied.
    if (const auto* number = std::get_if<std::int64_t>(&value.storage())) {
      sqlite3_bind_int64(statement, index, *number);
    } else if (const auto* text = std::get_if<std::string>(&value.storage())) {
      sqlite3_bind_text64(statement, index, text->data(), text->size(), SQLITE_STATIC, SQLITE_UTF8);
    } else if (const auto* blob = std::get_if<Blob>(&value.storage())) {
      const void* bytes = blob->bytes.empty() ? "" : blob->bytes.data();
      sqlite3_bind_blob64(statement, index, bytes, blob->bytes.size(), SQLITE_STATIC);
    } else {
      sqlite3_bind_null(statement, index);
    }
  }

  static Row read_row(sqlite3_stmt* statement) {
    std::vector<Value> values;
    int columns = sqlite3_column_count(statement);
    values.reserve(static_cast<std::size_t>(columns));
    for (int i = 0; i < columns; ++i) {
      auto size = [&] { return static_cast<std::size_t>(sqlite3_column_bytes(statement, i)); };
      switch (sqlite3_column_type(statement, i)) {
        case SQLITE_INTEGER: values.emplace_back(sqlite3_column_int64(statement, i)); break;
        case SQLITE_TEXT: {
          const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(statement, i));
          values.emplace_back(std::string(text, size()));
          break;
        }
        case SQLITE_BLOB: {
          const auto* bytes = static_cast<const char*>(sqlite3_column_blob(statement, i));
          values.emplace_back(Blob{bytes == nullptr ? std::string{} : std::string(bytes, size())});
          break;
        }
        default: values.emplace_back(); break;
      }
    }
    return Row{std::move(values)};
  }

  Handle handle_;
  std::map<std::string, Statement, std::less<>> statements_;
  SteadyTime deadline_;
  bool doomed_ = false;
};

/// Connections that wait for work. The destructor expects all of them to be back.
class ConnectionShelf {
 public:
  void add(std::unique_ptr<SqliteConnection> connection) {
    std::lock_guard lock(mutex_);
    idle_.push_back(std::move(connection));
    returned_.notify_one();
  }
  std::unique_ptr<SqliteConnection> take(SteadyTime deadline) {
    std::unique_lock lock(mutex_);
    if (!returned_.wait_until(lock, deadline, [&] { return !idle_.empty(); })) return nullptr;
    auto connection = std::move(idle_.back());
    idle_.pop_back();
    return connection;
  }

 private:
  std::mutex mutex_;
  std::condition_variable returned_;
  std::vector<std::unique_ptr<SqliteConnection>> idle_;
};

/// Gives the connection back on every way out.
class Loan {
 public:
  Loan(ConnectionShelf& shelf, SteadyTime deadline)
      : shelf_(shelf), connection_(shelf.take(deadline)) {
    if (connection_) connection_->set_deadline(deadline);
  }
  Loan(const Loan&) = delete;
  Loan& operator=(const Loan&) = delete;
  ~Loan() {
    if (connection_) shelf_.add(std::move(connection_));
  }
  [[nodiscard]] SqliteConnection* get() const { return connection_.get(); }

 private:
  ConnectionShelf& shelf_;
  std::unique_ptr<SqliteConnection> connection_;
};

std::unexpected<Error> pool_exhausted() {
  return fail(Error{Kind::unavailable, "sql.busy", "no connection became free in time", 1});
}

class SqliteDatabase final : public Database {
 public:
  static Result<std::unique_ptr<Database>> open(const std::string& path, std::uint32_t readers) {
    // The mode is set before SQLite sees the file; -wal and -shm inherit it.
    int file = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (file < 0) {
      return fail(Kind::unavailable, "sql.unavailable",
                  path + " cannot be opened: " + std::generic_category().message(errno));
    }
    ::close(file);
    auto database = std::make_unique<SqliteDatabase>();
    auto writer = SqliteConnection::open(path, true);
    if (!writer) {
      Error named = std::move(writer).error();
      named.message = path + ": " + named.message;
      return fail(std::move(named));
    }
    database->writer_.add(std::move(*writer));
    for (std::uint32_t i = 0; i < std::max(readers, 1U); ++i) {
      TRY(auto reader, SqliteConnection::open(path, false));
      database->readers_.add(std::move(reader));
    }
    return database;
  }

  [[nodiscard]] Dialect dialect() const override { return Dialect::sqlite; }

  Status probe() override {
    return read(
        [](Executor& sql) -> Status {
          TRY_VOID(sql.query("SELECT 1"));
          return {};
        },
        within(std::chrono::seconds{1}));
  }

 protected:
  Status run_read(SteadyTime deadline, Work work) override {
    Loan loan(readers_, deadline);
    if (loan.get() == nullptr) return pool_exhausted();
    return work(*loan.get());
  }

  Status run_write(const WriteOptions& options, Work work) override {
    Loan loan(writer_, options.deadline);
    if (loan.get() == nullptr) return pool_exhausted();
    SqliteConnection& connection = *loan.get();
    RollBackUnlessCommitted guard{connection};
    TRY_VOID(connection.begin(options.durable));
    TRY_VOID(work(connection));
    return connection.commit();
  }

 private:
  struct RollBackUnlessCommitted {
    SqliteConnection& connection;
    ~RollBackUnlessCommitted() { connection.roll_back(); }
  };

  ConnectionShelf writer_;
  ConnectionShelf readers_;
};

}  // namespace

Result<std::unique_ptr<Database>> open_sqlite(const std::string& path, std::uint32_t readers) {
  return SqliteDatabase::open(path, readers);
}

}  // namespace alga::sql
