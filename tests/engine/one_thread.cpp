// The networks of these tests are tiny: threads would only wait for each other, for seconds where
// several tests share few cores.

#include <gtest/gtest.h>
#include <omp.h>

namespace {

class OneThread final : public ::testing::Environment {
 public:
  void SetUp() override { omp_set_num_threads(1); }
};

const auto* const kEnvironment = ::testing::AddGlobalTestEnvironment(new OneThread);

}  // namespace
