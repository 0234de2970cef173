// POST /v1/segment: masks, in every form, and what is refused.

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <thread>

#include "base/to_size.h"
#include "image/image.h"
#include "server/http/multipart.h"
#include "tests/app/shared_folder.h"
#include "tests/serve/served.h"

namespace macadam {

namespace {

namespace fs = std::filesystem;

std::span<const uint8_t> bytes_of(const std::string& text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

class Segment : public SharedFolder<Segment> {
 protected:
  static void SetUpTestSuite() {
    write_random_model(folder() / "m.safetensors");
    served_ = std::make_unique<Served>(
        folder(),
        std::vector<std::string>{"m.safetensors", "--max-megapixels", "1", "--max-body-mb", "2",
                                 "--max-delay-ms", "20", "--deadline-ms", "600000"});
  }
  static void TearDownTestSuite() {
    served_.reset();
    SharedFolder::TearDownTestSuite();
  }
  static Served& served() { return *served_; }

  static Reply post(const std::string& query, const std::string& body,
                    const std::vector<std::string>& fields = {}) {
    return served().ask("POST", "/v1/segment" + query, body, fields);
  }
  static int status(const std::string& query, const std::string& body,
                    const std::vector<std::string>& fields = {}) {
    const Reply reply = post(query, body, fields);
    if (reply.status != 200) {
      EXPECT_TRUE(nlohmann::json::accept(reply.body)) << reply.body;
      EXPECT_EQ(reply.body.find(folder().string()), std::string::npos) << reply.body;
    }
    return reply.status;
  }

 private:
  inline static std::unique_ptr<Served> served_;
};

TEST_F(Segment, TheMaskIsThatOfPredictBitForBitAtAnyBatch) {
  const fs::path photos = folder() / "photos";
  fs::create_directories(photos);
  const std::vector<std::string> contents{png_photo(32, 64, 1), png_photo(50, 41, 2),
                                          jpeg_photo(130, 260, 3), png_photo(1, 1, 4)};
  for (size_t i = 0; i < contents.size(); ++i) {
    write_text(photos / fmt::format("{}.{}", i, i == 2 ? "jpg" : "png"), contents[i]);
  }
  for (const std::string flag : {"", "--tile", "--flip"}) {
    std::vector<std::string> words{"predict", "m.safetensors", "photos",
                                   "-o",      "out" + flag,    "--confidence"};
    if (!flag.empty()) words.push_back(flag);
    expect_success(macadam(folder(), words));
    const std::string query = "?format=raw&ids=label" + (flag.empty() ? "" : "&" + flag.substr(2));
    std::vector<std::string> masks(contents.size());
    for (int round = 0; round < 3; ++round) {  // the photos meet in batches
      std::vector<std::thread> clients;
      for (size_t i = 0; i < contents.size(); ++i) {
        clients.emplace_back([&, i] { masks[i] = post(query, contents[i]).body; });
      }
      for (auto& client : clients) client.join();
      for (size_t i = 0; i < contents.size(); ++i) {
        const Image expected =
            read_labels(folder() / ("out" + flag) / "ids" / fmt::format("{}.png", i));
        EXPECT_EQ(masks[i], std::string(expected.pixels.begin(), expected.pixels.end()))
            << "photo " << i << " " << flag;
      }
    }
  }
}

TEST_F(Segment, EveryFormIsTheSameMask) {
  const std::string photo = png_photo(40, 70);
  const Reply raw = post("?format=raw", photo);
  EXPECT_EQ(raw.status, 200);
  EXPECT_EQ(raw.body.size(), 40u * 70u);
  EXPECT_EQ(raw.field("content-type"), "application/octet-stream");
  EXPECT_NE(raw.field("server-timing").find("infer;dur="), std::string::npos);
  EXPECT_EQ(raw.field("x-model"), "m:1");

  const Reply png = post("", photo);
  EXPECT_EQ(png.field("content-type"), "image/png");
  const Image indices = decode_label_indices(bytes_of(png.body), "mask");
  EXPECT_EQ(std::string(indices.pixels.begin(), indices.pixels.end()), raw.body);
  const Image colors = decode_rgb(bytes_of(png.body), "mask");  // through the palette
  const Reply color = post("?format=color", photo);
  EXPECT_EQ(decode_rgb(bytes_of(color.body), "mask"), colors);
  EXPECT_EQ(colors.at(0, 0)[0], 30 * static_cast<uint8_t>(raw.body[0]));

  const auto rle = nlohmann::json::parse(post("?format=rle", photo).body);
  uint64_t area = 0;
  for (const auto& region : rle["regions"]) area += region["area"].get<uint64_t>();
  EXPECT_EQ(area, 40u * 70u);
  const Image overlay = decode_rgb(bytes_of(post("?format=overlay", photo).body), "overlay");
  EXPECT_EQ(overlay.height, 40);
  EXPECT_NE(overlay, colors);

  EXPECT_EQ(post("", photo, {"Accept: application/json"}).field("content-type"),
            "application/json");
  EXPECT_EQ(post("", photo, {"Accept: text/html, application/octet-stream;q=0.9"}).body, raw.body);
  EXPECT_EQ(post("", photo, {"Accept: image/png;q=0.2", "Accept: application/json;q=0.4"})
                .field("content-type"),
            "application/json");
  EXPECT_EQ(status("", photo, {"Accept: image/png;q=0"}), 406);
  EXPECT_EQ(status("", photo, {"Accept: text/html"}), 406);
}

TEST_F(Segment, ConfidenceIsASecondPart) {
  const Reply reply = post("?confidence=1&format=raw", png_photo(20, 30));
  const auto boundary = multipart_boundary(reply.field("content-type"));
  ASSERT_TRUE(boundary);
  const auto parts = parse_multipart(reply.body, *boundary, 8);
  ASSERT_TRUE(parts);
  ASSERT_EQ(parts->size(), 2u);
  EXPECT_EQ((*parts)[0].name, "mask");
  EXPECT_EQ((*parts)[0].content.size(), 600u);
  const std::string plane((*parts)[1].content);
  EXPECT_EQ(decode_labels(bytes_of(plane), "confidence").width, 30);
}

TEST_F(Segment, OneBadPhotoOfSeveralFailsAlone) {
  const std::vector<SentPart> photos{{"a", "image/png", png_photo(20, 30, 1)},
                                     {"b", "image/png", "no photo"},
                                     {"c", "image/jpeg", jpeg_photo(31, 17, 2)}};
  const MultipartBody body = make_multipart(photos);
  const Reply reply = post("?format=raw", body.body, {"Content-Type: " + body.content_type});
  ASSERT_EQ(reply.status, 200);
  const auto parts =
      parse_multipart(reply.body, *multipart_boundary(reply.field("content-type")), 8);
  ASSERT_TRUE(parts);
  ASSERT_EQ(parts->size(), 3u);
  EXPECT_EQ((*parts)[0].content, post("?format=raw", photos[0].content).body);
  EXPECT_EQ((*parts)[1].name, "error");
  EXPECT_NE((*parts)[1].content.find("photo 2"), std::string::npos);
  EXPECT_EQ((*parts)[2].content, post("?format=raw", photos[2].content).body);
}

TEST_F(Segment, WhatIsNoPhotoIsRefused) {
  const std::string photo = png_photo(64, 64);
  EXPECT_EQ(status("", ""), 400);
  EXPECT_EQ(status("", "GIF89a"), 400);
  EXPECT_EQ(status("", "<svg onload=alert(1)>"), 400);
  for (size_t part = 0; part < 16; ++part) {
    EXPECT_EQ(status("", photo.substr(0, photo.size() * part / 16)), 400) << part << "/16";
  }
  std::string broken = photo;
  broken[photo.size() / 2] ^= 0x55;
  EXPECT_EQ(status("", broken), 400) << "a checksum does not hold";
  EXPECT_EQ(status("", png_photo(2000, 600)), 400) << "more pixels than are allowed";
  // 60 bytes that claim 100,000 x 100,000 pixels
  std::string bomb = photo.substr(0, 33);
  for (const size_t at : {16, 20}) bomb.replace(at, 4, std::string("\0\x01\x86\xa0", 4));
  EXPECT_EQ(status("", bomb), 400);
  EXPECT_EQ(status("", photo, {"Content-Type: text/html"}), 415);
  EXPECT_EQ(status("", photo, {"Content-Type: multipart/form-data; boundary=x"}), 400);
  EXPECT_EQ(status("", photo, {"Content-Encoding: br"}), 415);
  EXPECT_EQ(status("", photo, {"Content-Encoding: gzip, gzip"}), 415);
  EXPECT_EQ(status("", photo, {"Content-Encoding: gzip"}), 400);
}

TEST_F(Segment, ParametersAreWhatTheyMayBe) {
  const std::string photo = png_photo(16, 16);
  for (const char* query :
       {"?tile=2", "?tile=-1", "?flip=yes", "?format=gif", "?format=png&format=raw", "?ids=none",
        "?alpha=nan", "?tile", "?FORMAT=png", "?=1"}) {
    EXPECT_EQ(status(query, photo), std::string(query) == "?tile" ? 200 : 400) << query;
  }
  EXPECT_EQ(status("/none", photo), 404);
  EXPECT_EQ(status("/m", photo), 200);
  EXPECT_EQ(status("/m/", photo), 200);
  EXPECT_EQ(status("/../m", photo), 404);
  EXPECT_EQ(status("/%2e%2e%2fm", photo), 404);
  EXPECT_EQ(status("/m%00", photo), 400);
}

TEST_F(Segment, OddSizesHaveMasks) {
  for (const auto& [height, width] : {std::pair(1, 1), std::pair(1, 700), std::pair(700, 1),
                                      std::pair(3, 5), std::pair(997, 13)}) {
    const Reply reply = post("?format=raw&tile=1", png_photo(height, width));
    EXPECT_EQ(reply.status, 200);
    EXPECT_EQ(reply.body.size(), to_size(height * width));
  }
}

}  // namespace

}  // namespace macadam
