#pragma once

// The headers that cost most to parse; included by CMake, never by hand.
#include <fmt/format.h>

#include <boost/json.hpp>

#include "async/blocking_pool.h"
#include "domain/egress_policy.h"
#include "httpd/message.h"
#include "sql/database.h"
