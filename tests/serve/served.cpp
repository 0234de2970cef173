#include "tests/serve/served.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <fstream>
#include <stdexcept>
#include <thread>

#include "engine/model/model_file.h"
#include "engine/plan/parameters.h"
#include "image/image.h"
#include "image/jpeg_writer.h"
#include "models/network.h"

namespace macadam {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

namespace {

Image patches(int height, int width, uint32_t seed) {
  Image image(height, width, 3);
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      const uint32_t patch =
          static_cast<uint32_t>((y / 8) * 131 + x / 8) * 2654435761U + seed * 97U;
      for (int c = 0; c < 3; ++c) image.at(y, x)[c] = static_cast<uint8_t>(patch >> (8 * c + 3));
    }
  }
  return image;
}

std::string text_of(const std::vector<uint8_t>& bytes) { return {bytes.begin(), bytes.end()}; }

}  // namespace

void write_random_model(const std::filesystem::path& file, uint64_t seed) {
  ModelInfo info;
  info.macadam_version = "test";
  info.network = "unet_mini";
  for (int c = 0; c < 8; ++c) {
    info.class_names.push_back(fmt::format("class {}", c));
    info.palette.push_back({static_cast<uint8_t>(30 * c), static_cast<uint8_t>(255 - 30 * c), 7});
    info.inverse_ids.push_back(static_cast<uint8_t>(c == 0 ? 23 : 2 * c));
  }
  info.label_set = "custom";
  info.height = 32;
  info.width = 64;
  info.precision = "fp32";
  const Graph graph = build_network({info.network, 8, {}}, {1, info.height, info.width, 3});
  std::map<std::string, ModelTensor> tensors;
  std::map<std::string, ModelTensorView> views;
  for (const ParameterSpec& p : graph.parameters()) {
    const ModelTensor& tensor = tensors[p.name] = {p.file_shape(), initial_values(p, seed)};
    views[p.name] = {tensor.shape, tensor.values};
  }
  save_model(file, info, views);
}

std::string png_photo(int height, int width, uint32_t seed) {
  return text_of(encode_png(patches(height, width, seed)));
}

std::string flat_png(int height, int width) { return text_of(encode_png(Image(height, width, 3))); }

std::string jpeg_photo(int height, int width, uint32_t seed) {
  return text_of(encode_jpeg(patches(height, width, seed), 90));
}

namespace {

std::vector<std::string> serve_words(std::vector<std::string> arguments, const std::string& log) {
  arguments.insert(arguments.begin(), "serve");
  for (const char* word : {"--port", "0", "--log", log.c_str()}) arguments.emplace_back(word);
  return arguments;
}

}  // namespace

Served::Served(const std::filesystem::path& folder, std::vector<std::string> arguments, bool wait,
               const std::string& log_name)
    : log_(folder / log_name),
      program_((std::filesystem::remove(log_), folder),
               serve_words(std::move(arguments), log_name)) {
  const auto until = steady_clock::now() + std::chrono::seconds(120);
  const std::string wanted = wait ? "\"event\":\"ready\"" : "\"event\":\"listening\"";
  while (log().find(wanted) == std::string::npos) {
    if (!program_.running() || steady_clock::now() > until) {
      throw std::runtime_error("the server did not start: " + program_.wait().err);
    }
    std::this_thread::sleep_for(milliseconds(20));
  }
  const std::string text = log(), start = "http://127.0.0.1:";
  const size_t at = text.find(start);
  if (at != std::string::npos) port_ = std::stoi(text.substr(at + start.size()));
}

Served::~Served() {
  if (!ended_) {
    program_.send(SIGKILL);
    program_.wait();
  }
}

Reply Served::ask(std::string_view method, std::string_view target, std::string_view body,
                  const std::vector<std::string>& fields) const {
  Client client(port_);
  client.send(request(method, target, body, fields));
  return client.receive(std::chrono::seconds(60), method != "HEAD").value_or(Reply{});
}

int Served::send_raw(std::string_view bytes) const {
  Client client(port_);
  client.send(bytes);
  return client.receive(std::chrono::seconds(20)).value_or(Reply{}).status;
}

std::string Served::log() const {
  std::ifstream file(log_);
  return {std::istreambuf_iterator<char>(file), {}};
}

size_t Served::memory() const {
#ifdef __SANITIZE_ADDRESS__
  return 0;
#endif
  std::ifstream file(fmt::format("/proc/{}/statm", program_.pid()));
  size_t pages = 0, resident = 0;
  file >> pages >> resident;
  return resident * static_cast<size_t>(::sysconf(_SC_PAGESIZE));
}

int Served::end() {
  program_.send(SIGTERM);
  ended_ = true;
  return program_.wait().exit_code;
}

}  // namespace macadam
