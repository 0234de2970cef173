// macadam compare and sweep, as far as they need no training.

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "tests/app/program.h"

namespace macadam {
namespace {

namespace fs = std::filesystem;

class Compare : public ::testing::Test {
 protected:
  Compare() {
    for (const auto& [name, score] : {std::pair{"low", "0.25"}, {"high", "0.5"}}) {
      fs::create_directories(folder_ / name);
      std::ofstream(folder_ / name / "config.toml") << "network = \"unet_mini\"\nseed = 1\n";
      std::ofstream(folder_ / name / "results.csv")
          << "epoch,train_loss,miou_present,seconds\n1,2.5," << score << ",60\n";
    }
    std::ofstream(folder_ / "sweep.toml")
        << "network = \"unet_mini\"\ndataset = \".\"\nname = \"s\"\n";
  }

  ProgramResult run(const std::vector<std::string>& arguments) const {
    return macadam(folder_.path(), arguments);
  }

  ScratchFolder folder_;
};

TEST_F(Compare, TheBestComesFirst) {
  const auto result = run({"compare", "low", "high"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_LT(result.out.find("high"), result.out.find("low"));
  EXPECT_NE(result.out.find("50.0%"), std::string::npos);
  EXPECT_NE(result.out.find("1 min 00 s"), std::string::npos);
}

TEST_F(Compare, WritesWhatTheEndingSays) {
  for (const char* name : {"c.md", "c.html", "c.csv"}) {
    EXPECT_EQ(run({"compare", "low", "high", "-o", name}).exit_code, 0) << name;
    EXPECT_GT(fs::file_size(folder_ / name), 50u) << name;
  }
  EXPECT_EQ(run({"compare", "low", "--json"}).out.substr(0, 9), "{\"runs\":[");
}

TEST_F(Compare, RefusesWhatItCannotDo) {
  for (const std::vector<std::string>& arguments :
       {std::vector<std::string>{"compare"},
        {"compare", "nowhere"},
        {"compare", "low", "-o", "c.txt"},
        {"compare", "low", "-o", "nowhere/c.md"},
        {"compare", "low", "--device", "cpu"},
        {"sweep", "sweep.toml"},
        {"sweep", "sweep.toml", "lr=1"},
        {"sweep", "sweep.toml", "lr=1,x"},
        {"sweep", "sweep.toml", "rl=1,2"},
        {"sweep", "sweep.toml", "name=a,b"},
        {"sweep", "sweep.toml", "lr=1,2", "--keep", "3"},
        {"sweep", "sweep.toml", "lr=1,2", "-o", "s.txt"},
        {"sweep", "none.toml", "lr=1,2"}}) {
    const auto result = run(arguments);
    EXPECT_EQ(result.exit_code, 2) << arguments.back() << "\n" << result.out << result.err;
    EXPECT_EQ(std::ranges::count(result.err, '\n'), 1) << result.err;
  }
  EXPECT_FALSE(fs::exists(folder_ / "runs"));
}

TEST_F(Compare, ASweepCanBeListed) {
  const auto result = run({"sweep", "sweep.toml", "lr=1e-3,1e-2", "--list"});
  EXPECT_EQ(result.out, "s-1e-3\ns-1e-2\n") << result.err;
}

}  // namespace
}  // namespace macadam
