// What Python calls, through ctypes: plain C functions, so that nothing here depends on a version of torch or Python.
#include "embedding.h"
#include "mlp.h"
#include "rate.h"
#include "rnn.h"

extern "C" {
int64_t lanes_float() { return LANES<float>; }  // points must come in multiples of this
void embedding_float(const Embedding* q) { train_embedding<float>(*q); }
void embedding_double(const Embedding* q) { train_embedding<double>(*q); }
void mlp_float(const Mlp* q) { train_mlp<float>(*q); }
void mlp_double(const Mlp* q) { train_mlp<double>(*q); }
void minibatches_float(const Mlp* q) { train_mlp<float>(*q); }
void minibatches_double(const Mlp* q) { train_mlp<double>(*q); }
void rnn_float(const Rnn* q) { train_rnn<float>(*q); }
void rnn_double(const Rnn* q) { train_rnn<double>(*q); }
void rate_float(const Rate* q) { train_rate<float>(*q); }
void rate_double(const Rate* q) { train_rate<double>(*q); }
}
