// Requests of the Open Inference Protocol: what is read, and the attacks that are refused.

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>

#include "server/http/http_error.h"
#include "server/protocol/tensors.h"

using namespace macadam;

namespace {

InferRequest parse(std::string_view json, std::string_view binary = {}) {
  static std::string body;  // the request has views of it
  body = std::string(json) + std::string(binary);
  return parse_infer_request(body, json.size(), {});
}

std::string input(std::string_view more) {
  return fmt::format(R"({{"inputs":[{{"name":"photo","datatype":"UINT8",{}}}]}})", more);
}

TEST(InferRequest, NumbersOfJsonMayBeNested) {
  for (const char* data : {"[1,2,3,4,5,6]", "[[[1,2,3],[4,5,6]]]"}) {
    const auto request = parse(input(fmt::format(R"("shape":[1,1,2,3],"data":{})", data)));
    ASSERT_EQ(request.inputs.size(), 1u);
    EXPECT_EQ(request.inputs[0].shape, (std::vector<int64_t>{1, 1, 2, 3}));
    EXPECT_EQ(request.inputs[0].values, (std::vector<float>{1, 2, 3, 4, 5, 6}));
    EXPECT_FALSE(request.inputs[0].is_binary);
  }
}

TEST(InferRequest, BinaryTensorsFollowTheJson) {
  const std::string json =
      R"({"id":"7","inputs":[{"name":"encoded","datatype":"BYTES","shape":[2],)"
      R"("parameters":{"binary_data_size":11}}],"outputs":[{"name":"mask",)"
      R"("parameters":{"binary_data":true}},{"name":"scores"}]})";
  const auto request = parse(json, std::string("\1\0\0\0a\2\0\0\0bc", 11));
  EXPECT_EQ(request.id, "7");
  EXPECT_EQ(request.inputs[0].elements, (std::vector<std::string_view>{"a", "bc"}));
  ASSERT_EQ(request.outputs.size(), 2u);
  EXPECT_TRUE(request.outputs[0].binary);
  EXPECT_FALSE(request.outputs[1].binary);
}

TEST(InferRequest, TheWholeMayAskForBinaryOutputs) {
  const auto request =
      parse(R"({"parameters":{"binary_data_output":true},"inputs":[{"name":"a","datatype":"UINT8",)"
            R"("shape":[1],"data":[1]}],"outputs":[{"name":"x"},{"name":"y","parameters":)"
            R"({"binary_data":false}}]})");
  EXPECT_TRUE(request.binary_outputs);
  EXPECT_TRUE(request.outputs[0].binary);
  EXPECT_FALSE(request.outputs[1].binary);
}

TEST(InferRequest, AttacksAreRefused) {
  const std::string deep(200, '['), deep_end(200, ']');
  const std::string many(400'000, '[');
  for (const std::string& json : {
           std::string(""),
           std::string("null"),
           std::string("[]"),
           std::string("{}"),
           std::string(R"({"inputs":[]})"),
           std::string(R"({"inputs":{}})"),
           std::string(R"({"inputs":[1]})"),
           many,
           R"({"id":)" + deep + deep_end + "}",
           input(R"("shape":[1],"data":)" + deep + "1" + deep_end),
           input(R"("shape":[-1],"data":[1])"),
           input(R"("shape":[1.0],"data":[1])"),
           input(R"("shape":[1e400],"data":[1])"),
           input(R"("shape":[18446744073709551615],"data":[1])"),
           input(R"("shape":[9223372036854775807,9223372036854775807],"data":[1])"),
           input(R"("shape":[4294967296,4294967296],"data":[1])"),
           input(R"("shape":["1"],"data":[1])"),
           input(R"("shape":[],"data":[1])"),
           input(R"("shape":[1,1,1,1,1,1,1,1,1],"data":[1])"),
           input(R"("shape":[2],"data":[1])"),
           input(R"("shape":[1],"data":[1,2])"),
           input(R"("shape":[1],"data":["a"])"),
           input(R"("shape":[1],"data":[{}])"),
           input(R"("shape":[1],"data":1)"),
           input(R"("shape":[1])"),
           input(R"("shape":[1],"data":[1],"parameters":{"binary_data_size":0})"),
           input(R"("shape":[1],"parameters":{"binary_data_size":1})"),
           input(R"("shape":[1],"parameters":{"binary_data_size":-1})"),
           input(R"("shape":[1],"parameters":{"binary_data_size":1.5})"),
           input(R"("shape":[1],"parameters":{"binary_data_size":18446744073709551616})"),
           input(R"("shape":[1],"parameters":{"a":[1]},"data":[1])"),
           input(R"("shape":[1],"parameters":[],"data":[1])"),
           input(R"("shape":[1],"shape":[2],"data":[1])"),
           std::string(R"({"inputs":[{"name":"a","datatype":"INT64","shape":[1],"data":[1]}]})"),
           std::string(R"({"inputs":[{"name":"a","datatype":"FP16","shape":[1],"data":[1]}]})"),
           std::string(R"({"inputs":[{"name":1,"datatype":"UINT8","shape":[1],"data":[1]}]})"),
           std::string(R"({"inputs":[{"name":"a","datatype":"UINT8","shape":[1],"data":[1]},)"
                       R"({"name":"a","datatype":"UINT8","shape":[1],"data":[1]}]})"),
           std::string(R"({"inputs":[{"name":"a","datatype":"UINT8","shape":[1],"data":[1]}],)"
                       R"("outputs":[{"name":"x"},{"name":"x"}]})"),
           std::string(R"({"inputs":[{"name":"a","datatype":"UINT8","shape":[1],"data":[1]}]} x)"),
           std::string("{\"inputs\":[{\"name\":\"\xff\"}]}"),
       }) {
    try {
      parse(json);
      ADD_FAILURE() << json.substr(0, 200) << " was taken";
    } catch (const HttpError& error) {
      EXPECT_EQ(error.status(), 400) << json.substr(0, 200);
    }
  }
}

TEST(InferRequest, AShortTextDoesNotBecomeALargeTensor) {
  std::string json = R"({"inputs":[{"name":"a","datatype":"UINT8","shape":[1],"data":[)";
  std::string values(40'000'000, '0');
  for (size_t i = 1; i < values.size(); i += 2) values[i] = ',';
  values.back() = '0';
  EXPECT_THROW(parse(json + values + "]}]}"), HttpError);
  std::string keys = "{";
  for (int i = 0; i < 20'000; ++i) keys += fmt::format("\"{}\":0,", i);
  EXPECT_THROW(parse(keys + R"("inputs":[]})"), HttpError) << "a flood of keys";
}

TEST(InferRequest, BytesAreSplitStrictly) {
  const auto bytes = [](std::string_view binary, int count) {
    return parse(fmt::format(R"({{"inputs":[{{"name":"e","datatype":"BYTES","shape":[{}],)"
                             R"("parameters":{{"binary_data_size":{}}}}}]}})",
                             count, binary.size()),
                 binary);
  };
  EXPECT_NO_THROW(bytes(std::string_view("\0\0\0\0", 4), 1));
  EXPECT_THROW(bytes(std::string_view("\0\0\0", 3), 1), HttpError);
  EXPECT_THROW(bytes(std::string_view("\5\0\0\0ab", 6), 1), HttpError);
  EXPECT_THROW(bytes(std::string_view("\xff\xff\xff\xff", 4), 1), HttpError);
  EXPECT_THROW(bytes(std::string_view("\0\0\0\0", 4), 2), HttpError);
  EXPECT_THROW(bytes(std::string_view("\0\0\0\0\0\0\0\0", 8), 1), HttpError);
  EXPECT_THROW(parse(R"({"inputs":[{"name":"e","datatype":"UINT8","shape":[1],"data":[1]}]})", "x"),
               HttpError)
      << "bytes that no tensor has";
}

TEST(InferRequest, TheLengthOfTheJsonIsANumber) {
  EXPECT_EQ(json_bytes_of("0", 10), 0u);
  EXPECT_EQ(json_bytes_of("10", 10), 10u);
  for (const char* text :
       {"", "11", "-1", "+5", "1e3", "0x1", " 1", "1 ", "99999999999", "99999999999999999999999"}) {
    EXPECT_THROW(json_bytes_of(text, 10), HttpError) << text;
  }
}

TEST(InferResponse, IsJsonAndThenBinary) {
  const std::vector<uint8_t> mask{1, 255};
  const float score = 1;
  const std::vector<OutputTensor> outputs{
      {"mask", TensorType::uint8, {1, 2}, {mask.data()}, 1, 2, false},
      {"scores", TensorType::fp32, {1}, {&score}, 1, 1, true}};
  const auto made = make_infer_response("m", "1", "x\"y", outputs);
  EXPECT_EQ(
      made.body.substr(0, made.json_bytes),
      R"({"model_name":"m","model_version":"1","id":"x\"y","outputs":[)"
      R"({"name":"mask","datatype":"UINT8","shape":[1,2],"data":[1,255]},)"
      R"({"name":"scores","datatype":"FP32","shape":[1],"parameters":{"binary_data_size":4}}]})");
  EXPECT_EQ(made.body.substr(made.json_bytes), std::string("\0\0\200\77", 4));
}

TEST(InferResponse, ScoresComePlaneByPlaneAndAreReadBackAsTheSame) {
  constexpr size_t kPixels = 500, kPlanes = 3;
  std::vector<std::vector<float>> images(2, std::vector<float>(kPixels * kPlanes));
  for (size_t i = 0; i < images.size(); ++i) {
    for (size_t v = 0; v < images[i].size(); ++v) {
      const auto bits = static_cast<uint32_t>((v + 7919 * i + 1) * 2654435761u);
      images[i][v] = std::bit_cast<float>(bits);
    }
  }
  images[0][0] = 0.1F;
  images[0][1] = -std::numeric_limits<float>::min();
  images[1][5] = std::numeric_limits<float>::infinity();
  const OutputTensor tensor{"scores",
                            TensorType::fp32,
                            {2, kPlanes, kPixels},
                            {images[0].data(), images[1].data()},
                            kPlanes,
                            kPixels,
                            false};
  const auto made = make_infer_response("m", "1", "", {&tensor, 1});
  const auto json = nlohmann::json::parse(made.body);
  const auto& data = json["outputs"][0]["data"];
  ASSERT_EQ(data.size(), tensor.values());
  for (size_t i = 0, at = 0; i < images.size(); ++i) {
    for (size_t plane = 0; plane < kPlanes; ++plane) {
      for (size_t p = 0; p < kPixels; ++p, ++at) {
        const float wanted = images[i][p * kPlanes + plane];
        if (std::isfinite(wanted)) {
          ASSERT_EQ(data[at].get<float>(), wanted);
        } else {
          ASSERT_TRUE(data[at].is_null());
        }
      }
    }
  }
  EXPECT_LE(made.body.size(), 512 + tensor.values() * value_bytes(TensorType::fp32, false));
  EXPECT_NE(made.body.find("[0.1,"), std::string::npos) << "the shortest";
}

}  // namespace
