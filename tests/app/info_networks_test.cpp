// macadam info --compare: what networks cost, beside each other.

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/app/program.h"

namespace macadam {
namespace {

class CompareNetworks : public ::testing::Test {
 protected:
  ProgramResult compare(const std::vector<std::string>& more) const {
    std::vector<std::string> arguments{"info", "--device", "cpu", "--compare"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return macadam(folder_.path(), arguments);
  }

  ScratchFolder folder_;
};

TEST_F(CompareNetworks, MeasuresEachInTheOrderAsked) {
  const std::vector<std::string> asked{"resnet18_unet", "unet_mini", "--size", "64x32"};
  const ProgramResult table = compare(asked);
  EXPECT_EQ(table.exit_code, 0) << table.err;
  EXPECT_LT(table.out.find("resnet18_unet"), table.out.find("unet_mini"));
  EXPECT_NE(table.out.find("14329224"), std::string::npos) << "its parameters";

  std::vector<std::string> with_json = asked;
  with_json.insert(with_json.end(), {"--json", "--classes", "5", "--precision", "fp32"});
  const auto costs = nlohmann::json::parse(compare(with_json).out);
  ASSERT_EQ(costs.size(), 2u);
  EXPECT_EQ(costs[1].at("network"), "unet_mini");
  EXPECT_EQ(costs[1].at("classes"), 5);
  for (const auto& cost : costs) {
    EXPECT_GT(cost.at("milliseconds").get<double>(), 0);
    EXPECT_GT(cost.at("memory_bytes").get<int64_t>(), 0);
    const auto alone = nlohmann::json::parse(
        macadam(folder_.path(), {"info", cost.at("network").get<std::string>(), "--device", "cpu",
                                 "--size", "64x32", "--classes", "5", "--json"})
            .out);
    EXPECT_EQ(cost.at("parameters"), alone.at("parameters"));
    EXPECT_EQ(cost.at("macs"), alone.at("macs_per_image"));
  }
}

TEST_F(CompareNetworks, RefusesWhatItCannotMeasure) {
  expect_input_error(compare({"unet_mini", "unet_mni"}), {"unet_mni", "unet_mini"});
  expect_input_error(compare({"resnet34"}), {"resnet34", "classifier"});
  expect_input_error(compare({"unet_mini", "--size", "63x31"}), {"unet_mini", "31x63"});
  expect_input_error(compare({"unet_mini", "--batch", "2"}), {"--batch"});
  expect_input_error(macadam(folder_.path(), {"info", "unet", "--compare", "unet_mini"}),
                     {"subject"});
}

}  // namespace
}  // namespace macadam
