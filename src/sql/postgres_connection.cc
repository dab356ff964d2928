#include "sql/postgres_connection.h"

#include <poll.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "base/bytes.h"
#include "sql/error.h"

namespace alga::sql {
namespace {

constexpr std::size_t kPreparedStatements = 256;

// Types by their object id, src/include/catalog/pg_type.dat.
enum TypeId : Oid { kBool = 16, kBytea = 17, kInt8 = 20, kInt2 = 21, kInt4 = 23 };

std::string_view line(const char* text) {
  std::string_view whole = text == nullptr ? "" : text;
  return trim(whole.substr(0, whole.find('\n')));
}

Error error_of(const PGresult* result) {
  const char* state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
  return from_sqlstate(state == nullptr ? "08006" : state,
                       line(PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY)));
}

Error given_up() {
  return Error{Kind::unavailable, "sql.unavailable", "the connection was given up", 1};
}

std::int64_t parse_integer(std::string_view text) {
  std::int64_t number = 0;
  auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), number);
  ALGA_CHECK(code == std::errc{} && end == text.data() + text.size());
  return number;
}

Value read_value(const PGresult* result, int row, int column) {
  if (PQgetisnull(result, row, column) != 0) return {};
  std::string_view text(PQgetvalue(result, row, column),
                        static_cast<std::size_t>(PQgetlength(result, row, column)));
  switch (PQftype(result, column)) {
    case kBool: return Value{text == "t" ? 1 : 0};
    case kInt2:
    case kInt4:
    case kInt8: return Value{parse_integer(text)};
    case kBytea: {
      auto bytes = text.starts_with("\\x") ? hex_decode(text.substr(2)) : std::nullopt;
      ALGA_CHECK(bytes.has_value());
      return Value{Blob{std::move(*bytes)}};
    }
    default: return Value{text};
  }
}

Rows read_rows(const PGresult* result) {
  Rows rows;
  int count = PQntuples(result);
  int columns = PQnfields(result);
  rows.reserve(static_cast<std::size_t>(count));
  for (int row = 0; row < count; ++row) {
    std::vector<Value> values;
    values.reserve(static_cast<std::size_t>(columns));
    for (int column = 0; column < columns; ++column) {
      values.push_back(read_value(result, row, column));
    }
    rows.emplace_back(std::move(values));
  }
  return rows;
}

/// Parameters as libpq wants them: text for text and numbers, binary for bytes.
struct WireParams {
  explicit WireParams(const std::vector<Value>& params) {
    numbers.reserve(params.size());
    for (const Value& value : params) {
      if (const auto* number = std::get_if<std::int64_t>(&value.storage())) {
        add(numbers.emplace_back(std::to_string(*number)), 0);
      } else if (const auto* text = std::get_if<std::string>(&value.storage())) {
        add(*text, 0);
      } else if (const auto* blob = std::get_if<Blob>(&value.storage())) {
        add(blob->bytes, 1);
      } else {
        values.push_back(nullptr);
        lengths.push_back(0);
        formats.push_back(0);
      }
    }
  }
  void add(const std::string& bytes, int format) {
    values.push_back(bytes.c_str());
    lengths.push_back(static_cast<int>(bytes.size()));
    formats.push_back(format);
  }
  std::vector<std::string> numbers;
  std::vector<const char*> values;
  std::vector<int> lengths, formats;
};

}  // namespace

Result<std::unique_ptr<PostgresConnection>> PostgresConnection::open(const std::string& address,
                                                                     const OpenOptions& options,
                                                                     SteadyTime deadline) {
  auto connection = std::make_unique<PostgresConnection>();
  connection->set_deadline(deadline);
  TRY_VOID(connection->connect(address, options));
  return connection;
}

Status PostgresConnection::connect(const std::string& address, const OpenOptions& options) {
  plan_life_ = options.plan_life;
  // statement_timeout ends on the server what a client gave up; the other two free its locks.
  const std::string session =
      "-c statement_timeout=" + std::to_string(options.statement_timeout.count()) +
      " -c idle_in_transaction_session_timeout=60000 "
      "-c client_min_messages=warning -c bytea_output=hex -c timezone=UTC";
  Secret password;
  if (options.password) {
    TRY(password, options.password());
  }
  std::vector<const char*> keys{"dbname",          "options",         "application_name",
                                "client_encoding", "keepalives_idle", "tcp_user_timeout"};
  std::vector<const char*> values{address.c_str(), session.c_str(), "algad", "UTF8", "30", "20000"};
  if (!password.empty()) {
    keys.push_back("password");
    values.push_back(password.reveal().data());  // of a std::string: ends with NUL
  }
  keys.push_back(nullptr);
  values.push_back(nullptr);
  connection_.reset(PQconnectStartParams(keys.data(), values.data(), 1));
  ALGA_CHECK(connection_ != nullptr);
  if (PQstatus(connection_.get()) == CONNECTION_BAD) return fail(connection_error());
  PostgresPollingStatusType state = PGRES_POLLING_WRITING;
  while (state != PGRES_POLLING_OK) {
    if (state == PGRES_POLLING_FAILED) return fail(connection_error());
    TRY_VOID(wait_for(state == PGRES_POLLING_READING ? POLLIN : POLLOUT));
    state = PQconnectPoll(connection_.get());
  }
  if (PQserverVersion(connection_.get()) < 150'000) {
    return fail(Kind::internal, "sql.unsupported_server", "PostgreSQL 15 or newer is needed");
  }
  PQsetnonblocking(connection_.get(), 1);
  PQsetNoticeProcessor(connection_.get(), [](void*, const char*) {}, nullptr);
  return {};
}

bool PostgresConnection::usable() const {
  return connection_ != nullptr && PQstatus(connection_.get()) == CONNECTION_OK;
}

bool PostgresConnection::idle() const {
  return usable() && PQtransactionStatus(connection_.get()) == PQTRANS_IDLE;
}

Status PostgresConnection::commit() {
  if (usable() && PQtransactionStatus(connection_.get()) == PQTRANS_INERROR) {
    return fail(Kind::internal, "sql.transaction_failed", "a statement of it failed before");
  }
  return script("COMMIT");
}

Error PostgresConnection::connection_error() const {
  // libpq's words may quote the address; the first line names host and reason, never the password.
  return from_sqlstate("08006", line(PQerrorMessage(connection_.get())));
}

Status PostgresConnection::wait_for(short events) {
  pollfd waiting{PQsocket(connection_.get()), events, 0};
  while (true) {
    auto left =
        std::chrono::ceil<std::chrono::milliseconds>(deadline_ - std::chrono::steady_clock::now());
    auto budget = std::clamp<std::int64_t>(left.count(), 0, 60'000);
    int ready = ::poll(&waiting, 1, static_cast<int>(budget));
    if (ready > 0) return {};
    if (ready == 0 && left.count() > 60'000) continue;
    if (ready < 0 && errno == EINTR) continue;
    connection_.reset();
    return fail(Kind::timeout, "sql.timeout", "the database did not answer in time");
  }
}

Result<std::size_t> PostgresConnection::notices(SteadyTime deadline) {
  while (usable()) {
    if (PQconsumeInput(connection_.get()) == 0) return fail(connection_error());
    std::size_t heard = 0;
    while (PGnotify* notice = PQnotifies(connection_.get())) {
      PQfreemem(notice);
      ++heard;
    }
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    if (heard > 0 || left.count() <= 0) return heard;
    pollfd waiting{PQsocket(connection_.get()), POLLIN, 0};
    ::poll(&waiting, 1, static_cast<int>(std::min<std::int64_t>(left.count(), 60'000)));
  }
  return fail(given_up());
}

Status PostgresConnection::flush() {
  while (true) {
    int pending = PQflush(connection_.get());
    if (pending == 0) return {};
    if (pending < 0) return fail(connection_error());
    TRY_VOID(wait_for(POLLIN | POLLOUT));
    if (PQconsumeInput(connection_.get()) == 0) return fail(connection_error());
  }
}

Result<PostgresConnection::Answer> PostgresConnection::collect() {
  TRY_VOID(flush());
  Answer last;
  while (true) {
    while (PQisBusy(connection_.get()) != 0) {
      TRY_VOID(wait_for(POLLIN));
      if (PQconsumeInput(connection_.get()) == 0) return fail(connection_error());
    }
    Answer next(PQgetResult(connection_.get()));
    if (!next) break;
    // Of several results the first failure counts; the rest must still be read.
    if (!last || PQresultStatus(last.get()) != PGRES_FATAL_ERROR) last = std::move(next);
  }
  if (!last) return fail(connection_error());
  switch (PQresultStatus(last.get())) {
    case PGRES_COMMAND_OK:
    case PGRES_TUPLES_OK:
    case PGRES_EMPTY_QUERY: return last;
    default: return fail(error_of(last.get()));
  }
}

Status PostgresConnection::forget_prepared() {
  TRY_VOID(script("DEALLOCATE ALL"));
  prepared_.clear();
  return {};
}

Result<std::string> PostgresConnection::prepare(std::string_view sql) {
  if (!prepared_.empty() && std::chrono::steady_clock::now() >= plans_until_) {
    TRY_VOID(forget_prepared());
  }
  if (auto found = prepared_.find(sql); found != prepared_.end()) return found->second;
  if (prepared_.size() >= kPreparedStatements) TRY_VOID(forget_prepared());
  if (prepared_.empty()) plans_until_ = std::chrono::steady_clock::now() + plan_life_;
  std::string name = "s" + std::to_string(prepared_.size());
  std::string text(sql);
  if (PQsendPrepare(connection_.get(), name.c_str(), text.c_str(), 0, nullptr) == 0) {
    return fail(connection_error());
  }
  TRY_VOID(collect());
  prepared_.emplace(std::move(text), name);
  return name;
}

Result<PostgresConnection::Answer> PostgresConnection::run(std::string_view sql,
                                                           const std::vector<Value>& params) {
  if (!usable()) return fail(given_up());
  TRY_VOID(check_params(params));
  TRY(std::string name, prepare(sql));
  WireParams wire(params);
  if (PQsendQueryPrepared(connection_.get(), name.c_str(), static_cast<int>(params.size()),
                          wire.values.data(), wire.lengths.data(), wire.formats.data(), 0) == 0) {
    return fail(connection_error());
  }
  return collect();
}

Result<Rows> PostgresConnection::query(std::string_view sql, const std::vector<Value>& params) {
  TRY(Answer answer, run(sql, params));
  return read_rows(answer.get());
}

Result<std::uint64_t> PostgresConnection::execute(std::string_view sql,
                                                  const std::vector<Value>& params) {
  TRY(Answer answer, run(sql, params));
  std::string_view count = PQcmdTuples(answer.get());
  return count.empty() ? 0 : static_cast<std::uint64_t>(parse_integer(count));
}

Status PostgresConnection::script(std::string_view sql) {
  if (!usable()) return fail(given_up());
  std::string text(sql);
  if (PQsendQuery(connection_.get(), text.c_str()) == 0) return fail(connection_error());
  TRY_VOID(collect());
  return {};
}

}  // namespace alga::sql
