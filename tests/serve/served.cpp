#include "tests/serve/served.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
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

milliseconds left_until(steady_clock::time_point until) {
  return std::max(milliseconds(0),
                  std::chrono::duration_cast<milliseconds>(until - steady_clock::now()));
}

void connect_to(int fd, const sockaddr* address, socklen_t size) {
  if (fd < 0 || ::connect(fd, address, size) != 0) throw std::runtime_error("cannot connect");
}

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

Client::Client(int port) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  connect_to(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof(address));
}

Client::Client(const std::filesystem::path& socket)
    : fd_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  socket.string().copy(address.sun_path, sizeof(address.sun_path) - 1);
  connect_to(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof(address));
}

Client::~Client() { leave(); }

void Client::leave() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

bool Client::send(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
  return true;
}

bool Client::more(steady_clock::time_point until) {
  pollfd waiting{fd_, POLLIN, 0};
  if (::poll(&waiting, 1, static_cast<int>(left_until(until).count())) != 1) return false;
  std::string piece(1 << 16, '\0');
  const ssize_t count = ::recv(fd_, piece.data(), piece.size(), 0);
  if (count <= 0) return false;
  held_.append(piece, 0, static_cast<size_t>(count));
  return true;
}

std::optional<Reply> Client::receive(milliseconds time, bool has_body) {
  const auto until = steady_clock::now() + time;
  for (;;) {
    size_t head = std::string::npos;
    while ((head = held_.find("\r\n\r\n")) == std::string::npos) {
      if (!more(until)) return std::nullopt;
    }
    Reply reply;
    std::istringstream lines(held_.substr(0, head));
    std::string line;
    std::getline(lines, line);
    reply.status = std::stoi(line.substr(line.find(' ') + 1, 3));
    while (std::getline(lines, line)) {
      std::string name = line.substr(0, line.find(':'));
      std::ranges::transform(name, name.begin(), [](unsigned char c) { return std::tolower(c); });
      if (line.ends_with('\r')) line.pop_back();
      reply.fields[name] = line.substr(std::min(line.size(), name.size() + 2));
    }
    held_.erase(0, head + 4);
    if (reply.status == 100) continue;
    const std::string length = reply.field("content-length");
    const size_t bytes = length.empty() || !has_body ? 0 : std::stoul(length);
    while (held_.size() < bytes) {
      if (!more(until)) return std::nullopt;
    }
    reply.body = held_.substr(0, bytes);
    held_.erase(0, bytes);
    return reply;
  }
}

bool Client::closed_within(milliseconds time) {
  const auto until = steady_clock::now() + time;
  while (more(until)) {
  }
  return steady_clock::now() < until;
}

std::string request(std::string_view method, std::string_view target, std::string_view body,
                    const std::vector<std::string>& fields) {
  std::string text = fmt::format("{} {} HTTP/1.1\r\nHost: localhost\r\n", method, target);
  for (const std::string& field : fields) text += field + "\r\n";
  if (!body.empty() || method == "POST") text += fmt::format("Content-Length: {}\r\n", body.size());
  return text + "\r\n" + std::string(body);
}

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

std::string jpeg_photo(int height, int width, uint32_t seed) {
  return text_of(encode_jpeg(patches(height, width, seed), 90));
}

namespace {

std::vector<std::string> serve_words(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), "serve");
  for (const char* word : {"--port", "0", "--log", "serve.log"}) arguments.emplace_back(word);
  return arguments;
}

}  // namespace

Served::Served(const std::filesystem::path& folder, std::vector<std::string> arguments, bool wait)
    : folder_(folder),
      program_((std::filesystem::remove(folder / "serve.log"), folder),
               serve_words(std::move(arguments))) {
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
  std::ifstream file(folder_ / "serve.log");
  return {std::istreambuf_iterator<char>(file), {}};
}

size_t Served::memory() const {
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
