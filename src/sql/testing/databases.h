#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>

#include "sql/database.h"
#include "sql/testing/postgres_server.h"

namespace alga::sql::testing {

/// The server that all tests of this program share; null when there is none.
inline PostgresServer* shared_postgres() {
  // Started at the first use, ended at exit.
  static std::unique_ptr<PostgresServer> server = PostgresServer::start();
  return server.get();
}

/// A folder that vanishes with the object.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "alga-test-XXXXXX").string();
    ALGA_CHECK(mkdtemp(pattern.data()) != nullptr);
    path_ = pattern;
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  [[nodiscard]] const std::string& path() const [[clang::lifetimebound]] { return path_; }

 private:
  std::string path_;
};

/// Base of contract tests: each runs on an empty SQLite file and on an empty PostgreSQL database.
class OnEveryDatabase : public ::testing::TestWithParam<Dialect> {
 protected:
  void SetUp() override {
    if (GetParam() == Dialect::postgres) {
      if (shared_postgres() == nullptr) GTEST_SKIP() << "no PostgreSQL on this machine";
      address_ = shared_postgres()->fresh_database();
    } else {
      address_ = "sqlite:" + folder_.path() + "/test.db";
    }
    database_ = open();
  }
  [[nodiscard]] std::unique_ptr<Database> open() const {
    auto opened = open_database(address_);
    ALGA_CHECK(opened.has_value());
    return std::move(*opened);
  }
  TemporaryFolder folder_;
  std::string address_;
  std::unique_ptr<Database> database_;
};

inline std::string dialect_name(const ::testing::TestParamInfo<Dialect>& info) {
  return info.param == Dialect::sqlite ? "Sqlite" : "Postgres";
}

}  // namespace alga::sql::testing

#define ALGA_ON_EVERY_DATABASE(Suite)                                                  \
  INSTANTIATE_TEST_SUITE_P(                                                            \
      Engines, Suite,                                                                  \
      ::testing::Values(::alga::sql::Dialect::sqlite, ::alga::sql::Dialect::postgres), \
      ::alga::sql::testing::dialect_name)
