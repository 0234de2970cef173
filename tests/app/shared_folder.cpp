#include "shared_folder.h"

namespace macadam {

void make_streets(const std::filesystem::path& folder, int images, const std::string& name,
                  const std::string& size) {
  expect_success(
      macadam(folder, {"synth", name, "--images", std::to_string(images), "--size", size}));
}

void train_on_streets(const std::filesystem::path& folder, int images, const std::string& config,
                      const std::vector<std::string>& words) {
  make_streets(folder, images);
  write_text(folder / "run.toml", config);
  std::vector<std::string> train{"train", "run.toml"};
  train.insert(train.end(), words.begin(), words.end());
  expect_success(macadam(folder, train));
}

}  // namespace macadam
