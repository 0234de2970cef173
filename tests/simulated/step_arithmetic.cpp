// A training step of the headline networks by arithmetic, without a device: its launches, what it
// moves outside cuDNN, and the time that this would take (tests/simulated/counting.h says by which
// assumptions). Nothing here is measured.
//
//   step_arithmetic [--kinds] [NETWORK...]     8 images of 1024x512, bf16, 8 classes

#include <fmt/format.h>

#include <string>
#include <vector>

#include "base/error.h"
#include "tests/simulated/step_counts.h"

namespace {

using namespace macadam;
using namespace macadam::simulated;

constexpr Shape kImages{8, 512, 1024, 3};

std::string line(const std::string& name, int64_t launches, double gigabytes, double outside,
                 double convolutions) {
  return fmt::format("| {} | {} | {:.2f} | {:.2f} | {:.2f} | {:.2f} |\n", name, launches, gigabytes,
                     1e3 * outside, 1e3 * convolutions, 1e3 * (outside + convolutions));
}

std::string lines_of(const std::string& network, bool kinds) {
  const StepCounts counts = count_step(network, kImages, DType::bf16);
  const Tally ours = outside(counts.tallies);
  const Tally all = total(counts.tallies);
  std::string text = line(network, counts.launches, 1e-9 * static_cast<double>(ours.bytes),
                          ours.seconds, all.seconds - ours.seconds);
  if (!kinds) return text;
  for (const auto& [kind, tally] : counts.tallies) {
    const bool cudnn = kind == "convolution";
    text += line("- " + kind, tally.launches, cudnn ? 0 : 1e-9 * static_cast<double>(tally.bytes),
                 cudnn ? 0 : tally.seconds, cudnn ? tally.seconds : 0);
  }
  return text;
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::string> networks(argv + 1, argv + argc);
  const bool kinds = !networks.empty() && networks.front() == "--kinds";
  if (kinds) networks.erase(networks.begin());
  if (networks.empty()) {
    networks = {"unet_mini", "unet", "vgg16_unet", "resnet34_unet", "efficientnet_b0_unet"};
  }
  try {
    fmt::print(
        "| network | launches | GB outside cuDNN | ms outside | ms convolutions | ms a step "
        "|\n|---|--:|--:|--:|--:|--:|\n");
    for (const std::string& network : networks) fmt::print("{}", lines_of(network, kinds));
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 1;
  }
}
