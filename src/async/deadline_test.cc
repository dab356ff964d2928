#include "async/deadline.h"

#include <gtest/gtest.h>

#include <stdexcept>

#include "async/spawn.h"

namespace alga::async {
namespace {

Task<Result<int>> throwing(boost::system::error_code code) {
  throw boost::system::system_error(code);
  co_return 1;
}

Task<Result<int>> throwing_another() {
  throw std::runtime_error("another");
  co_return 1;
}

TEST(Guarded, CallsACancellationByItsNameAndTellsItFromOtherFaults) {
  EXPECT_EQ(block_on(guarded(throwing(boost::asio::error::operation_aborted))).error().code,
            "async.cancelled");
  EXPECT_EQ(block_on(guarded(throwing(boost::asio::error::eof))).error().code, "async.exception");
  EXPECT_EQ(block_on(guarded(throwing_another())).error().code, "async.exception");
}

}  // namespace
}  // namespace alga::async
