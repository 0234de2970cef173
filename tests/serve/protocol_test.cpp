// The Open Inference Protocol against the real process.

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstring>
#include <nlohmann/json.hpp>

#include "base/to_size.h"
#include "tests/app/shared_folder.h"
#include "tests/serve/served.h"

namespace macadam {

namespace {

using Json = nlohmann::json;

constexpr int kHeight = 32, kWidth = 64, kClasses = 8;

class Protocol : public SharedFolder<Protocol> {
 protected:
  static void SetUpTestSuite() {
    write_random_model(folder() / "m.safetensors");
    served_ = std::make_unique<Served>(
        folder(), std::vector<std::string>{"m.safetensors", "m:2=m.safetensors"});
  }
  static void TearDownTestSuite() {
    served_.reset();
    SharedFolder::TearDownTestSuite();
  }
  static Served& served() { return *served_; }

  /// Photos of bytes, N x height x width x 3.
  static std::string pixels(int count, int height, int width) {
    std::string values(to_size(count * height * width * 3), '\0');
    uint32_t state = 5;
    for (char& value : values) {
      state = state * 1664525 + 1013904223;
      value = static_cast<char>(state >> 24);
    }
    return values;
  }

  static Reply infer(const std::string& json, const std::string& binary = {}) {
    std::vector<std::string> fields;
    if (!binary.empty()) {
      fields.push_back(fmt::format("Inference-Header-Content-Length: {}", json.size()));
    }
    return served().ask("POST", "/v2/models/m/infer", json + binary, fields);
  }

  /// The data of the outputs of a binary answer, by name.
  static std::map<std::string, std::string> outputs(const Reply& reply) {
    const size_t length = std::stoul(reply.field("inference-header-content-length"));
    const Json json = Json::parse(reply.body.substr(0, length));
    std::map<std::string, std::string> data;
    size_t at = length;
    for (const auto& output : json["outputs"]) {
      const auto bytes = output["parameters"]["binary_data_size"].get<size_t>();
      data[output["name"]] = reply.body.substr(at, bytes);
      at += bytes;
    }
    EXPECT_EQ(at, reply.body.size());
    return data;
  }

  static std::string photo_request(int count, int height, int width, const std::string& outputs_) {
    return Json{{"parameters", {{"binary_data_output", true}}},
                {"inputs",
                 {{{"name", "photo"},
                   {"datatype", "UINT8"},
                   {"shape", {count, height, width, 3}},
                   {"parameters", {{"binary_data_size", count * height * width * 3}}}}}},
                {"outputs", Json::parse(outputs_)}}
        .dump();
  }

 private:
  inline static std::unique_ptr<Served> served_;
};

TEST_F(Protocol, MetadataSaysWhatInferenceTakes) {
  const Json metadata = Json::parse(served().get("/v2/models/m").body);
  EXPECT_EQ(metadata["versions"], (Json{"2", "1"}));
  EXPECT_EQ(metadata["inputs"][0]["shape"], (Json{-1, 3, kHeight, kWidth}));
  EXPECT_EQ(metadata["outputs"][0]["shape"], (Json{-1, kClasses, -1, -1}));
  const Json config = Json::parse(served().get("/v2/models/m/versions/1/config").body);
  EXPECT_EQ(config["input"][0]["data_type"], "TYPE_FP32");
  EXPECT_EQ(config["input"][0]["dims"], (Json{3, kHeight, kWidth}));
  EXPECT_EQ(config["input"].size(), 1u);
  const std::string python = config["parameters"]["metadata"]["string_value"];
  EXPECT_NE(python.find("'names': {0: 'class 0', 1: 'class 1'"), std::string::npos) << python;
}

TEST_F(Protocol, TensorsGiveTheMaskThatThePhotoGives) {
  const std::string photo = png_photo(40, 50);
  const std::string mask = served().ask("POST", "/v1/segment?format=raw", photo).body;
  // The body as the one input.
  const Reply raw =
      served().ask("POST", "/v2/models/m/infer", photo, {"Inference-Header-Content-Length: 0"});
  ASSERT_EQ(raw.status, 200) << raw.body;
  EXPECT_EQ(outputs(raw).at("mask"), mask);
  // BYTES.
  std::string element(4, '\0');
  const auto length = static_cast<uint32_t>(photo.size());
  std::memcpy(element.data(), &length, 4);
  element += photo;
  const std::string json =
      fmt::format(R"({{"inputs":[{{"name":"encoded","datatype":"BYTES","shape":[1,1],"parameters":)"
                  R"({{"binary_data_size":{}}}}}],"outputs":[{{"name":"mask"}}]}})",
                  element.size());
  const Reply text = infer(json, element);
  ASSERT_EQ(text.status, 200) << text.body;
  std::string values;
  const Json answer = Json::parse(text.body);
  for (const int value : answer["outputs"][0]["data"]) values += static_cast<char>(value);
  EXPECT_EQ(values, mask);
  EXPECT_EQ(answer["outputs"][0]["shape"], (Json{1, 40, 50}));
}

TEST_F(Protocol, ABatchIsItsPhotosOneByOne) {
  constexpr int kPhotos = 5, kH = 20, kW = 31;
  const std::string all = pixels(kPhotos, kH, kW);
  const std::string wanted = R"([{"name":"mask"},{"name":"scores"},{"name":"confidence"}])";
  const auto together = outputs(infer(photo_request(kPhotos, kH, kW, wanted), all));
  EXPECT_EQ(together.at("scores").size(), sizeof(float) * kPhotos * kClasses * kH * kW);
  const size_t bytes = kH * kW * 3;
  for (int i = 0; i < kPhotos; ++i) {
    const auto one = outputs(infer(photo_request(1, kH, kW, wanted), all.substr(bytes * i, bytes)));
    for (const auto& [name, data] : one) {
      EXPECT_EQ(together.at(name).substr(data.size() * i, data.size()), data) << name << " " << i;
    }
  }
}

TEST_F(Protocol, FloatsAreThePhotosBytes) {
  const std::string bytes = pixels(1, kHeight, kWidth);
  const auto of_bytes =
      outputs(infer(photo_request(1, kHeight, kWidth, R"([{"name":"scores"}])"), bytes));
  for (const std::string type : {"FP32", "BF16"}) {
    std::string floats;
    for (int c = 0; c < 3; ++c) {
      for (int p = 0; p < kHeight * kWidth; ++p) {
        const auto byte = static_cast<uint8_t>(bytes[to_size(p * 3 + c)]);
        const float value = static_cast<float>(byte) / 255.0F;
        char raw[4];
        std::memcpy(raw, &value, 4);
        floats.append(type == "FP32" ? raw : raw + 2, type == "FP32" ? 4 : 2);
      }
    }
    const Json json{{"inputs",
                     {{{"name", "images"},
                       {"datatype", type},
                       {"shape", {1, 3, kHeight, kWidth}},
                       {"parameters", {{"binary_data_size", floats.size()}}}}}},
                    {"outputs", {{{"name", "scores"}, {"parameters", {{"binary_data", true}}}}}}};
    const Reply reply = infer(json.dump(), floats);
    ASSERT_EQ(reply.status, 200) << reply.body;
    if (type == "FP32") {
      EXPECT_EQ(outputs(reply), of_bytes);
    } else {
      EXPECT_EQ(outputs(reply).at("scores").size(), of_bytes.at("scores").size());
    }
  }
}

TEST_F(Protocol, WhatTheModelDoesNotHaveIsRefused) {
  const auto status = [](const std::string& json, const std::string& binary = {}) {
    const Reply reply = infer(json, binary);
    EXPECT_TRUE(Json::accept(reply.body)) << reply.body;
    return reply.status;
  };
  const auto input = [](const char* name, const char* type, const char* shape, const char* data) {
    return fmt::format(R"({{"inputs":[{{"name":"{}","datatype":"{}","shape":{},"data":{}}}]}})",
                       name, type, shape, data);
  };
  EXPECT_EQ(status(input("photo", "UINT8", "[1,1,2,3]", "[1,2,3,4,5,6]")), 200);
  EXPECT_EQ(status(input("PHOTO", "UINT8", "[1,1,2,3]", "[1,2,3,4,5,6]")), 400);
  EXPECT_EQ(status(input("photo", "FP32", "[1,1,2,3]", "[1,2,3,4,5,6]")), 400);
  EXPECT_EQ(status(input("photo", "UINT8", "[1,1,2,3]", "[1,2,3,4,5,256]")), 400);
  EXPECT_EQ(status(input("photo", "UINT8", "[1,1,2,3]", "[1,2,3,4,5,0.5]")), 400);
  EXPECT_EQ(status(input("photo", "UINT8", "[1,2,3]", "[1,2,3,4,5,6]")), 400);
  EXPECT_EQ(status(input("photo", "UINT8", "[1,0,2,3]", "[]")), 400);
  EXPECT_EQ(status(input("photo", "UINT8", "[0,1,2,3]", "[]")), 400);
  EXPECT_EQ(status(input("images", "FP32", "[1,3,1,1]", "[0,0,0]")), 400);
  EXPECT_EQ(status(input("encoded", "BYTES", "[1]", "[\"no photo\"]")), 400);
  EXPECT_EQ(status(R"({"inputs":[{"name":"photo","datatype":"UINT8","shape":[1,1,1,3],)"
                   R"("data":[1,2,3]}],"outputs":[{"name":"other"}]})"),
            400);
  EXPECT_EQ(status(photo_request(33, 1, 1, "[]"), pixels(33, 1, 1)), 400) << "too many photos";
  std::string nan(sizeof(float) * 3 * kHeight * kWidth, '\xff');
  EXPECT_EQ(status(Json{{"inputs",
                         {{{"name", "images"},
                           {"datatype", "FP32"},
                           {"shape", {1, 3, kHeight, kWidth}},
                           {"parameters", {{"binary_data_size", nan.size()}}}}}}}
                       .dump(),
                   nan),
            400);
  for (const char* value : {"1e400", "-0.1", "1.5", "null", "true"}) {
    std::string values = value;
    for (int i = 1; i < 3 * kHeight * kWidth; ++i) values += ",0";
    const int code = status(fmt::format(
        R"({{"inputs":[{{"name":"images","datatype":"FP32","shape":[1,3,{},{}],"data":[{}]}}]}})",
        kHeight, kWidth, values));
    EXPECT_EQ(code, std::string_view(value) == "true" ? 200 : 400) << value;
  }
}

TEST_F(Protocol, TextIsCountedBeforeItIsMade) {
  constexpr int kLarge = 2100;  // scores of 8 classes: 135 MiB, and up to 538 as text
  const std::string all = pixels(1, kLarge, kLarge);
  const auto wanted = [](bool binary) {
    return fmt::format(R"([{{"name":"scores","parameters":{{"binary_data":{}}}}}])", binary);
  };
  const Reply text = infer(photo_request(1, kLarge, kLarge, wanted(false)), all);
  EXPECT_EQ(text.status, 400);
  EXPECT_NE(text.body.find("binary data"), std::string::npos) << text.body;
  EXPECT_EQ(infer(photo_request(1, kLarge, kLarge, wanted(true)), all).status, 200);
}

TEST_F(Protocol, PhotosThatCannotBeHeldTogetherAreRefused) {
  Served small(folder(), {"m=m.safetensors", "--work-memory-mb", "4"}, true, "small.log");
  const auto status = [&](int count) {
    const std::string json = photo_request(count, 100, 100, R"([{"name":"scores"}])");
    return small
        .ask("POST", "/v2/models/m/infer", json + pixels(count, 100, 100),
             {fmt::format("Inference-Header-Content-Length: {}", json.size())})
        .status;
  };
  EXPECT_EQ(status(1), 200);
  EXPECT_EQ(status(8), 413);
}

TEST_F(Protocol, StatisticsAreOfAllVersionsUnlessOneIsNamed) {
  const auto versions = [](const std::string& target) {
    std::string found;
    const Json stats = Json::parse(served().get(target).body);
    for (const Json& model : stats["model_stats"]) {
      found += model["version"].get<std::string>() + " ";
    }
    return found;
  };
  EXPECT_EQ(versions("/v2/models/m/stats"), "2 1 ");
  EXPECT_EQ(versions("/v2/models/m/versions/1/stats"), "1 ");
  EXPECT_EQ(served().get("/v2/models/none/stats").status, 404);
}

TEST_F(Protocol, StatisticsCountPhotosAndBatches) {
  const auto stats = [] {
    return Json::parse(served().get("/v2/models/m/versions/1/stats").body)["model_stats"][0];
  };
  const Json before = stats();
  served().ask("POST", "/v2/models/m/versions/1/infer", png_photo(10, 10),
               {"Inference-Header-Content-Length: 0"});
  const Json after = stats();
  EXPECT_EQ(after["inference_count"].get<int>(), before["inference_count"].get<int>() + 1);
  EXPECT_EQ(after["inference_stats"]["success"]["count"].get<int>(),
            before["inference_stats"]["success"]["count"].get<int>() + 1);
  EXPECT_GT(after["inference_stats"]["compute_infer"]["ns"].get<uint64_t>(),
            before["inference_stats"]["compute_infer"]["ns"].get<uint64_t>());
}

}  // namespace

}  // namespace macadam
