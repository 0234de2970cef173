#pragma once
// What suites of the program's tests share: a folder for all tests of a suite, and what most of
// them begin with, a small street data set and a run on it.

#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "program.h"

namespace macadam {

/// A suite whose tests work in one folder, which its SetUpTestSuite() fills.
template <class Suite>
class SharedFolder : public ::testing::Test {
 protected:
  static void TearDownTestSuite() { scratch_.reset(); }
  /// Made when it is first asked for.
  static const std::filesystem::path& folder() {
    if (!scratch_) scratch_ = std::make_unique<ScratchFolder>();
    return scratch_->path();
  }

 private:
  inline static std::unique_ptr<ScratchFolder> scratch_;
};

/// Makes the data set `name` of streets in `folder`. A failure is one of the test.
void make_streets(const std::filesystem::path& folder, int images,
                  const std::string& name = "streets", const std::string& size = "64x32");

/// Makes "streets" and run.toml with the text `config` (small_config()), and trains by it, with the
/// further `words` on the command line. A failure is one of the test.
void train_on_streets(const std::filesystem::path& folder, int images, const std::string& config,
                      const std::vector<std::string>& words = {});

}  // namespace macadam
