// The tests that are written for a GPU and know of no schedule: each runs under one of its own.

#include <gtest/gtest.h>

#include <functional>
#include <optional>
#include <string>

#include "tests/simulated/schedule.h"

namespace macadam::simulated {
namespace {

class ScheduleOfTest final : public ::testing::EmptyTestEventListener {
  void OnTestStart(const ::testing::TestInfo& test) override {
    const std::string suite = test.test_suite_name(), name = test.name();
    if (suite.find("Simulated") != std::string::npos) return;
    const auto seed = static_cast<uint32_t>(std::hash<std::string>()(suite + "." + name));
    scheduled_.emplace(Schedule{Schedule::Order::random, seed});
  }
  void OnTestEnd(const ::testing::TestInfo&) override { scheduled_.reset(); }

  std::optional<Scheduled> scheduled_;
};

/// Before main(): the list of listeners takes what it is given, and keeps it.
const bool kListening = [] {
  ::testing::UnitTest::GetInstance()->listeners().Append(new ScheduleOfTest);
  return true;
}();

}  // namespace
}  // namespace macadam::simulated
