// Reading requests: JSON within bounds, then the binary tensors behind it.

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>

#include "base/text.h"
#include "base/to_size.h"
#include "server/http/http_error.h"
#include "server/protocol/tensors.h"

namespace macadam {

namespace {

using Json = nlohmann::json;

/// Builds the JSON of a request, but for what stands in "data" of an input: numbers go to a vector
/// of floats, so that a short text does not become a large tree.
class RequestReader : public nlohmann::json_sax<Json> {
 public:
  explicit RequestReader(const InferLimits& limits) : limits_(limits) {}

  Json root;
  /// By the number that stands in the place of the data.
  std::vector<std::vector<float>> numbers;
  std::vector<std::vector<std::string>> texts;
  std::string fault;

  bool null() override { return add(nullptr); }
  bool boolean(bool value) override { return in_data() ? number(value ? 1 : 0) : add(value); }
  bool number_integer(number_integer_t value) override {
    return in_data() ? number(static_cast<double>(value)) : add(value);
  }
  bool number_unsigned(number_unsigned_t value) override {
    return in_data() ? number(static_cast<double>(value)) : add(value);
  }
  bool number_float(number_float_t value, const string_t&) override {
    return in_data() ? number(value) : add(value);
  }
  bool string(string_t& value) override {
    if (!in_data()) return add(std::move(value));
    texts.back().push_back(std::move(value));
    return ++values_ <= limits_.values || refuse("the tensors have too many values");
  }
  bool binary(binary_t&) override { return refuse("this is not JSON"); }

  bool start_object(size_t) override {
    if (in_data()) return refuse("data is an array of values");
    return open(Json::object());
  }
  bool key(string_t& name) override {
    if (!stack_.back()->is_object() || stack_.back()->contains(name)) {
      return refuse(fmt::format("{} stands twice in one object", quote(name)));
    }
    key_ = std::move(name);
    return true;
  }
  bool end_object() override { return close(); }

  bool start_array(size_t) override {
    if (in_data()) {
      return ++data_depth_ + stack_.size() <= limits_.depth || refuse("it is nested too deeply");
    }
    // inputs: [ { data: [
    if (stack_.size() == 3 && key_ == "data" && stack_[1] == inputs()) {
      numbers.emplace_back();
      texts.emplace_back();
      if (!add(numbers.size() - 1)) return false;
      data_depth_ = 1;
      return true;
    }
    return open(Json::array());
  }
  bool end_array() override {
    if (!in_data()) return close();
    --data_depth_;
    return true;
  }
  bool parse_error(size_t, const std::string&, const nlohmann::detail::exception&) override {
    return refuse("the request is not JSON");
  }

 private:
  bool in_data() const { return data_depth_ > 0; }
  const Json* inputs() const {
    if (!root.is_object()) return nullptr;
    const auto found = root.find("inputs");
    return found == root.end() ? nullptr : &*found;
  }

  bool refuse(std::string why) {
    if (fault.empty()) fault = std::move(why);
    return false;
  }

  bool number(double value) {
    numbers.back().push_back(static_cast<float>(value));
    return ++values_ <= limits_.values || refuse("the tensors have too many values");
  }

  bool add(Json value) { return place(std::move(value)) != nullptr; }

  Json* place(Json value) {
    if (++json_values_ > limits_.json_values) {
      refuse("the request has too many values");
      return nullptr;
    }
    if (stack_.empty()) {
      root = std::move(value);
      return &root;
    }
    Json& parent = *stack_.back();
    if (parent.is_array()) {
      parent.push_back(std::move(value));
      return &parent.back();
    }
    return &(parent[key_] = std::move(value));
  }

  bool open(Json value) {
    if (stack_.size() >= limits_.depth) return refuse("it is nested too deeply");
    // Parents are not touched while a child is open: the pointers stay.
    Json* const placed = place(std::move(value));
    if (placed != nullptr) stack_.push_back(placed);
    return placed != nullptr;
  }
  bool close() {
    stack_.pop_back();
    return true;
  }

  const InferLimits& limits_;
  std::vector<Json*> stack_;
  std::string key_;
  size_t values_ = 0, json_values_ = 0, data_depth_ = 0;
};

[[noreturn]] void refuse(std::string text) { throw HttpError(400, std::move(text)); }

std::string text_field(const Json& object, const char* name, const char* of) {
  const auto found = object.find(name);
  if (found == object.end() || !found->is_string())
    refuse(fmt::format("{} has a {}, a text", of, name));
  return found->get<std::string>();
}

/// A parameter of that name, of the type that `value` has; nothing when it is not there.
template <typename T>
std::optional<T> parameter(const Json& object, const char* name) {
  const auto all = object.find("parameters");
  if (all == object.end()) return std::nullopt;
  if (!all->is_object()) refuse("parameters is an object");
  for (const auto& value : *all) {
    if (value.is_structured() || value.is_null()) {
      refuse("a parameter is a text, a number, true or false");
    }
  }
  const auto found = all->find(name);
  if (found == all->end()) return std::nullopt;
  if constexpr (std::is_same_v<T, bool>) {
    if (!found->is_boolean()) refuse(fmt::format("{} is true or false", name));
  } else {
    if (!found->is_number_unsigned()) refuse(fmt::format("{} is a number of bytes", name));
  }
  return found->get<T>();
}

/// The product of a shape; throws when it passes `most`.
size_t elements_of(const std::vector<int64_t>& shape, size_t most) {
  size_t product = 1;
  for (const int64_t extent : shape) {
    if (extent == 0) return 0;
    if (static_cast<uint64_t>(extent) > most / product) refuse("a tensor's shape is too large");
    product *= to_size(extent);
  }
  return product;
}

std::vector<int64_t> shape_of(const Json& input, const InferLimits& limits) {
  const auto found = input.find("shape");
  if (found == input.end() || !found->is_array() || found->empty() ||
      found->size() > limits.dimensions) {
    refuse("an input has a shape, a list of numbers");
  }
  std::vector<int64_t> shape;
  for (const Json& extent : *found) {
    // Not negative, whole, and no larger than the type.
    if (!extent.is_number_unsigned() || extent.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX)) {
      refuse("a shape's extents are whole numbers from 0 on");
    }
    shape.push_back(extent.get<int64_t>());
  }
  return shape;
}

/// The elements of BYTES: each its length, 4 bytes, and itself.
std::vector<std::string_view> split_bytes(std::string_view data, size_t count) {
  std::vector<std::string_view> elements;
  while (!data.empty()) {
    uint32_t length = 0;
    if (data.size() < sizeof(length) || elements.size() == count)
      refuse("BYTES do not fit the shape");
    std::memcpy(&length, data.data(), sizeof(length));
    data.remove_prefix(sizeof(length));
    if (length > data.size()) refuse("an element of BYTES goes on after its tensor");
    elements.push_back(data.substr(0, length));
    data.remove_prefix(length);
  }
  if (elements.size() != count) refuse("BYTES do not fit the shape");
  return elements;
}

/// Takes the input's data: of `rest`, the binary tensors that are left, or of the JSON.
void read_data(const Json& description, InputTensor& input, RequestReader& json,
               std::string_view& rest, const InferLimits& limits, InferRequest& request) {
  constexpr size_t kMostBytes = size_t{1} << 32;
  const bool is_bytes = input.type == TensorType::bytes;
  const size_t count = elements_of(input.shape, is_bytes ? limits.photos : kMostBytes);
  const auto binary = parameter<uint64_t>(description, "binary_data_size");
  const auto data = description.find("data");
  if (binary.has_value() == (data != description.end())) {
    refuse("an input has either data or binary_data_size");
  }
  if (binary) {
    if (*binary > rest.size()) refuse("binary_data_size passes the end of the body");
    input.binary = rest.substr(0, static_cast<size_t>(*binary));
    input.is_binary = true;
    rest.remove_prefix(static_cast<size_t>(*binary));
    if (is_bytes) {
      input.elements = split_bytes(input.binary, count);
    } else if (input.binary.size() != count * size_of(input.type)) {
      refuse(fmt::format("input {} has {} bytes, its shape {}", quote(input.name),
                         input.binary.size(), count * size_of(input.type)));
    }
    return;
  }
  if (!data->is_number_unsigned() || data->get<size_t>() >= json.numbers.size()) {
    refuse("data is an array of values");
  }
  if (input.type == TensorType::fp16 || input.type == TensorType::bf16) {
    refuse("FP16 and BF16 have no form in JSON: send them as binary data");
  }
  auto& numbers = json.numbers[data->get<size_t>()];
  auto& texts = json.texts[data->get<size_t>()];
  if ((is_bytes ? texts.size() : numbers.size()) != count ||
      !(is_bytes ? numbers.empty() : texts.empty())) {
    refuse(fmt::format("input {} has not the values that its shape says", quote(input.name)));
  }
  input.values = std::move(numbers);
  for (std::string& text : texts) request.texts.push_back(std::move(text));
}

void read_outputs(const Json& root, const InferLimits& limits, InferRequest& request) {
  const auto outputs = root.find("outputs");
  if (outputs == root.end()) return;
  if (!outputs->is_array() || outputs->size() > limits.outputs) refuse("outputs is a short list");
  std::set<std::string> names;
  for (const Json& output : *outputs) {
    if (!output.is_object()) refuse("an output is an object");
    RequestedOutput wanted{text_field(output, "name", "an output"),
                           parameter<bool>(output, "binary_data").value_or(request.binary_outputs)};
    if (!names.insert(wanted.name).second) refuse("an output is asked for twice");
    request.outputs.push_back(std::move(wanted));
  }
}

}  // namespace

size_t json_bytes_of(std::string_view field, size_t body_bytes) {
  size_t bytes = 0;
  const auto [end, error] = std::from_chars(field.data(), field.data() + field.size(), bytes);
  if (field.empty() || error != std::errc() || end != field.data() + field.size() ||
      bytes > body_bytes) {
    refuse("Inference-Header-Content-Length is a number of bytes of the body");
  }
  return bytes;
}

InferRequest parse_infer_request(std::string_view body, size_t json_bytes,
                                 const InferLimits& limits) {
  RequestReader json(limits);
  const std::string_view text = body.substr(0, json_bytes);
  std::string_view rest = body.substr(json_bytes);
  if (!Json::sax_parse(text, &json)) refuse(json.fault.empty() ? "it is not JSON" : json.fault);
  const Json& root = json.root;
  if (!root.is_object()) refuse("the request is an object");

  InferRequest request;
  if (const auto id = root.find("id"); id != root.end()) {
    if (!id->is_string() || id->get_ref<const std::string&>().size() > 1024) {
      refuse("id is a text of at most 1024 bytes");
    }
    request.id = id->get<std::string>();
  }
  request.binary_outputs = parameter<bool>(root, "binary_data_output").value_or(false);

  const auto inputs = root.find("inputs");
  if (inputs == root.end() || !inputs->is_array() || inputs->empty() ||
      inputs->size() > limits.inputs) {
    refuse("inputs is a list of tensors");
  }
  std::set<std::string> names;
  request.texts.reserve(limits.photos * limits.inputs);  // the elements point into it
  for (const Json& description : *inputs) {
    if (!description.is_object()) refuse("an input is an object");
    InputTensor input;
    input.name = text_field(description, "name", "an input");
    if (!names.insert(input.name).second) refuse("two inputs have one name");
    const std::string type = text_field(description, "datatype", "an input");
    const auto known = tensor_type(type);
    if (!known) refuse(fmt::format("no input has the datatype {}", quote(type)));
    input.type = *known;
    input.shape = shape_of(description, limits);
    const size_t texts = request.texts.size();
    read_data(description, input, json, rest, limits, request);
    for (size_t i = texts; i < request.texts.size(); ++i) {
      input.elements.emplace_back(request.texts[i]);
    }
    request.inputs.push_back(std::move(input));
  }
  if (!rest.empty()) refuse("the body goes on after its tensors");
  read_outputs(root, limits, request);
  return request;
}

}  // namespace macadam
