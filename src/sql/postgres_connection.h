#pragma once

#include <libpq-fe.h>

#include <map>
#include <memory>
#include <string>

#include "sql/database.h"

namespace alga::sql {

/// One libpq connection, driven without blocking so that the deadline holds even when the server
/// is silent. After a deadline the connection is closed: what it was doing cannot be reused.
class PostgresConnection final : public Executor {
 public:
  static Result<std::unique_ptr<PostgresConnection>> open(const std::string& address,
                                                          const OpenOptions& options,
                                                          SteadyTime deadline);
  void set_deadline(SteadyTime deadline) { deadline_ = deadline; }
  /// Waits until the server has sent notices or the deadline has passed; answers how many.
  Result<std::size_t> notices(SteadyTime deadline);
  /// False once the connection has broken or was given up.
  [[nodiscard]] bool usable() const;
  /// True when no transaction is open on a usable connection.
  [[nodiscard]] bool idle() const;
  /// Fails with `sql.transaction_failed` when a statement of the transaction had failed: the server
  /// then rolls back and calls it success.
  Status commit();

  [[nodiscard]] Dialect dialect() const override { return Dialect::postgres; }
  Result<Rows> query(std::string_view sql, const std::vector<Value>& params) override;
  Result<std::uint64_t> execute(std::string_view sql, const std::vector<Value>& params) override;
  Status script(std::string_view sql) override;
  using Executor::execute;
  using Executor::query;

 private:
  struct Close {
    void operator()(PGconn* connection) const { PQfinish(connection); }
  };
  struct Clear {
    void operator()(PGresult* result) const { PQclear(result); }
  };
  using Answer = std::unique_ptr<PGresult, Clear>;

  Status connect(const std::string& address, const OpenOptions& options);
  Result<std::string> prepare(std::string_view sql);
  Status forget_prepared();
  Result<Answer> run(std::string_view sql, const std::vector<Value>& params);
  Result<Answer> collect();
  Status wait_for(short events);
  Status flush();
  [[nodiscard]] Error connection_error() const;

  std::unique_ptr<PGconn, Close> connection_;
  std::map<std::string, std::string, std::less<>> prepared_;
  std::chrono::milliseconds plan_life_{0};
  SteadyTime plans_until_{};  ///< of those in prepared_
  SteadyTime deadline_;
};

}  // namespace alga::sql
