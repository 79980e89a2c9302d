/* Logits of the decoder after every node of a forest of token sequences, and their gradient: one thread, float32.
 *
 * Row i of a forest is a token at a position below its parent < i (-1: none); it attends to itself and its ancestors.
 * Layer 0 sees nothing of a row but its token and position, so its norm, queries, keys and values are tables of
 * vocabulary * positions cells.  Rows go through everything else in tiles that stay in cache; the backward pass takes
 * the tiles in reverse order, so that what a row's descendants add to its keys and values is there when its tile is.
 * Sums run over one tile, then over tiles: short sums lose fewer bits.
 *
 * Sizes (MODEL, HEADS, HIDDEN, LAYERS), EPSILON and the place of each array among the offsets of theta (AT_UP0, ...) are
 * defined by whoever compiles this, from the layout in transformer.py.
 */
#include <math.h>
#include <stdint.h>
#include <string.h>

#if defined __AVX512F__
enum { W = 16, COLUMNS = 4 }; /* floats of a vector; vectors of a row of a product that are held in registers */
#elif defined __AVX__
enum { W = 8, COLUMNS = 2 };
#elif defined __aarch64__
enum { W = 4, COLUMNS = 4 };
#else
enum { W = 4, COLUMNS = 2 };
#endif
enum { HEAD = MODEL / HEADS, QKV = 3 * MODEL, TILE = 96, ROWS = 6, NARROW = 2 };
_Static_assert(LAYERS == 2 && MODEL % 64 == 0 && HIDDEN % 64 == 0 && HEAD % W == 0, "the model this is written for");

typedef float vec __attribute__((vector_size(W * 4)));
typedef int32_t ivec __attribute__((vector_size(W * 4)));
typedef vec loose __attribute__((aligned(4), may_alias)); /* a vector in memory, wherever it lies */
#define INLINE static inline __attribute__((always_inline))
#ifdef __clang__
#define ONCE static __attribute__((noinline))
#else
#define ONCE static __attribute__((noinline, noclone)) /* copied into each caller, these take as long to compile as all else */
#endif
INLINE vec ld(const float *p) { return *(const loose *)p; }
INLINE void st(float *p, vec v) { *(loose *)p = v; }
INLINE void add_to(float *p, vec v) { st(p, ld(p) + v); }
typedef float quad __attribute__((vector_size(16)));
typedef quad loose_quad __attribute__((aligned(4), may_alias));
INLINE quad ld4(const float *p) { return *(const loose_quad *)p; }
INLINE void st4(float *p, quad v) { *(loose_quad *)p = v; }
INLINE vec all(float x) { return x - (vec){0}; }
INLINE vec pick(ivec mask, vec a, vec b) { return (vec)(((ivec)a & mask) | ((ivec)b & ~mask)); }

INLINE float total(vec v) {
  quad part[W / 4], sum;
  memcpy(part, &v, sizeof v);
  for (int half = W / 8; half; half /= 2)
    for (int i = 0; i < half; i++) part[i] += part[i + half];
  sum = part[0];
  return (sum[0] + sum[2]) + (sum[1] + sum[3]);
}

/* exp of Cephes, relative error 2e-7; nan stays nan */
INLINE vec exp_(vec x) {
  vec y = pick(x > all(88.f), all(88.f), x);
  y = pick(y < all(-87.f), all(-87.f), y);
  vec t = y * 1.44269504f + 12582912.f, n = t - 12582912.f; /* y / log 2 rounded, in the low bits of t too */
  vec r = y - n * 0.693359375f + n * 2.12194440e-4f, p = all(1.9875691500e-4f);
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.f;
  return (vec)((ivec)p + (((ivec)t) << 23));
}

/* ---- products of matrices */

/* C (m, W V) = [C +] [bias +] A B for m <= ROWS: A[i, k] = A[i ra + k ca], B and C by rows of ldb and ldc. */
INLINE void panel(const int m, const int V, int64_t K, const float *A, int64_t ra, int64_t ca, const float *B,
                  int64_t ldb, float *C, int64_t ldc, const float *bias, int add) {
  vec c[ROWS][COLUMNS];
  for (int i = 0; i < m; i++)
    for (int j = 0; j < V; j++) c[i][j] = (vec){0};
  for (int64_t k = 0; k < K; k++) {
    vec b[COLUMNS];
    for (int j = 0; j < V; j++) b[j] = ld(B + k * ldb + W * j);
    for (int i = 0; i < m; i++) {
      vec a = all(A[i * ra + k * ca]);
      for (int j = 0; j < V; j++) c[i][j] += a * b[j];
    }
  }
  for (int i = 0; i < m; i++)
    for (int j = 0; j < V; j++) {
      if (bias) c[i][j] += ld(bias + W * j);
      if (add) c[i][j] += ld(C + i * ldc + W * j);
      st(C + i * ldc + W * j, c[i][j]);
    }
}

/* C (M, W V) = [C +] [bias +] A (M, K) B (K, W V) */
INLINE void strip(const int V, int64_t M, int64_t K, const float *A, int64_t ra, int64_t ca, const float *B, int64_t ldb,
                  float *C, int64_t ldc, const float *bias, int add) {
  int64_t i = 0;
  for (; i + ROWS <= M; i += ROWS) panel(ROWS, V, K, A + i * ra, ra, ca, B, ldb, C + i * ldc, ldc, bias, add);
#define REST(m) \
  case m: \
    panel(m, V, K, A + i * ra, ra, ca, B, ldb, C + i * ldc, ldc, bias, add); \
    break;
  switch (M - i) { REST(5) REST(4) REST(3) REST(2) REST(1) }
#undef REST
}
/* C (M, N) = [C +] [bias +] A (M, K) B (K, N) */
static void product(int64_t M, int64_t N, int64_t K, const float *A, int64_t ra, int64_t ca, const float *B, int64_t ldb,
                    float *C, int64_t ldc, const float *bias, int add) {
  for (int64_t n = 0; n < N; n += W * COLUMNS)
    strip(COLUMNS, M, K, A, ra, ca, B + n, ldb, C + n, ldc, bias ? bias + n : 0, add);
}
/* C (n, N) = [C +] [bias +] A (n, K) B (K, N) */
static void times(int64_t n, const float *A, int64_t K, const float *B, int64_t N, float *C, const float *bias, int add) {
  product(n, N, K, A, K, 1, B, N, C, N, bias, add);
}
/* C (K, N) += A^T (K, n) B (n, N): the gradient of a kernel */
static void outer(int64_t n, const float *A, int64_t K, const float *B, int64_t N, float *C) {
  product(K, N, n, A, 1, K, B, N, C, N, 0, 1);
}
/* y (columns, rows) = x^T, x (rows, columns), by rows of ldx and ldy: in squares of 4, a strip of x and y in cache */
ONCE void transpose(int64_t rows, int64_t columns, const float *x, int64_t ldx, float *y, int64_t ldy) {
  for (int64_t first = 0; first < columns; first += 32)
    for (int64_t i = 0; i < rows; i += 4)
      for (int64_t j = first; j < columns && j < first + 32; j += 4) {
        int64_t down = rows - i < 4 ? rows - i : 4, across = columns - j < 4 ? columns - j : 4;
        const float *from = x + i * ldx + j;
        float *to = y + j * ldy + i;
        if (down < 4 || across < 4) {
          for (int64_t r = 0; r < down; r++)
            for (int64_t c = 0; c < across; c++) to[c * ldy + r] = from[r * ldx + c];
          continue;
        }
        quad a = ld4(from), b = ld4(from + ldx), c = ld4(from + 2 * ldx), d = ld4(from + 3 * ldx);
        quad ab = {a[0], b[0], a[1], b[1]}, cd = {c[0], d[0], c[1], d[1]};
        st4(to, (quad){ab[0], ab[1], cd[0], cd[1]}), st4(to + ldy, (quad){ab[2], ab[3], cd[2], cd[3]});
        ab = (quad){a[2], b[2], a[3], b[3]}, cd = (quad){c[2], d[2], c[3], d[3]};
        st4(to + 2 * ldy, (quad){ab[0], ab[1], cd[0], cd[1]}), st4(to + 3 * ldy, (quad){ab[2], ab[3], cd[2], cd[3]});
      }
}
/* C (N, N) = A^T A, A (K, N), both by rows of lda.  The sums of C[i, j] and C[j, i] have equal terms in one order, so one
 * half is computed, in strips that end at the diagonal, and the other copied. */
ONCE void gram(int64_t N, int64_t K, const float *A, int64_t lda, float *C) {
  for (int64_t n = 0; n < N; n += W * NARROW) {
    int64_t width = N - n < W * NARROW ? N - n : W * NARROW;
    strip(NARROW, n + width, K, A, 1, lda, A + n, lda, C + n, lda, 0, 0);
    transpose(n, width, C + n, lda, C + n * lda, lda);
  }
}
/* s (width) += the sum of n rows */
static void sum_rows(const float *x, int64_t n, int64_t width, float *s) {
  for (int64_t j = 0; j < width; j += W) {
    vec t = {0};
    for (int64_t i = 0; i < n; i++) t += ld(x + i * width + j);
    add_to(s + j, t);
  }
}

/* ---- layer norm */

/* hat = (x - mean) / sd and 1 / sd of n rows, and y = hat scale + shift */
static void norm(const float *x, int64_t n, const float *scale, const float *shift, float *hat, float *inverse, float *y) {
  for (int64_t i = 0; i < n; i++, x += MODEL, hat += MODEL, y += MODEL) {
    vec s = {0}, v = {0};
    for (int j = 0; j < MODEL; j += W) s += ld(x + j);
    float mean = total(s) / MODEL;
    for (int j = 0; j < MODEL; j += W) {
      vec d = ld(x + j) - mean;
      v += d * d;
    }
    float r = inverse[i] = 1.f / sqrtf(total(v) / MODEL + (float)EPSILON);
    for (int j = 0; j < MODEL; j += W) {
      vec h = (ld(x + j) - mean) * r;
      st(hat + j, h);
      st(y + j, h * ld(scale + j) + ld(shift + j));
    }
  }
}
static void rescale(const float *hat, int64_t n, const float *scale, const float *shift, float *y) {
  for (int64_t i = 0; i < n * MODEL; i += MODEL)
    for (int j = 0; j < MODEL; j += W) st(y + i + j, ld(hat + i + j) * ld(scale + j) + ld(shift + j));
}
/* dx, dscale and dshift += what dy gives them */
static void norm_back(const float *dy, const float *hat, const float *inverse, int64_t n, const float *scale, float *dx,
                      float *dscale, float *dshift) {
  enum { V = MODEL / W };
  vec a[V], b[V];
  for (int j = 0; j < V; j++) a[j] = b[j] = (vec){0};
  for (int64_t i = 0; i < n; i++, dy += MODEL, hat += MODEL, dx += MODEL) {
    vec s = {0}, t = {0}, d[V];
    for (int j = 0; j < V; j++) {
      vec y = ld(dy + W * j), h = ld(hat + W * j);
      a[j] += y * h;
      b[j] += y;
      d[j] = y * ld(scale + W * j);
      s += d[j];
      t += d[j] * h;
    }
    float mean = total(s) / MODEL, along = total(t) / MODEL;
    for (int j = 0; j < V; j++) add_to(dx + W * j, (d[j] - mean - ld(hat + W * j) * along) * inverse[i]);
  }
  for (int j = 0; j < V; j++) {
    add_to(dscale + W * j, a[j]);
    add_to(dshift + W * j, b[j]);
  }
}

/* ---- attention of one row to its path */

static const float SHARPNESS = 1 / 5.656854249492380195f; /* 1 / sqrt(HEAD) */
_Static_assert(HEAD == 32, "the sharpness of the attention");

/* p (HEADS, T) = softmax(q K^T / sqrt(HEAD)) and o (MODEL) = p V, keys and values in rows `at` of kv (., QKV) */
static void attend(const float *q, const float *kv, const int32_t *at, int n, int64_t T, float *p, float *o) {
  enum { V = HEAD / W };
  for (int h = 0; h < HEADS; h++) {
    float s[T + W], top = -INFINITY;
    vec scaled[V], out[V], sum = {0};
    for (int k = 0; k < V; k++) {
      scaled[k] = ld(q + HEAD * h + W * k) * SHARPNESS;
      out[k] = (vec){0};
    }
    for (int j = 0; j < n; j++) {
      const float *key = kv + (int64_t)at[j] * QKV + MODEL + HEAD * h;
      vec t = scaled[0] * ld(key);
      for (int k = 1; k < V; k++) t += scaled[k] * ld(key + W * k);
      s[j] = total(t);
      top = s[j] > top ? s[j] : top;
    }
    for (int j = n; j < n + W; j++) s[j] = -1e30f; /* its exp is 1e-38 */
    for (int j = 0; j < n; j += W) {
      vec e = exp_(ld(s + j) - top);
      sum += e;
      st(s + j, e);
    }
    float z = 1.f / total(sum);
    for (int j = 0; j < n; j++) {
      const float *value = kv + (int64_t)at[j] * QKV + 2 * MODEL + HEAD * h;
      float w = p[h * T + j] = s[j] * z;
      for (int k = 0; k < V; k++) out[k] += w * ld(value + W * k);
    }
    for (int k = 0; k < V; k++) st(o + HEAD * h + W * k, out[k]);
  }
}
/* dq (MODEL) and rows `at` of dkv (., QKV) += what dout (MODEL) gives them */
static void attend_back(const float *q, const float *kv, const int32_t *at, int n, int64_t T, const float *p,
                        const float *dout, float *dq, float *dkv) {
  enum { V = HEAD / W };
  for (int h = 0; h < HEADS; h++) {
    float dp[T], mean = 0;
    vec d[V], query[V], g[V];
    for (int k = 0; k < V; k++) {
      d[k] = ld(dout + HEAD * h + W * k);
      query[k] = ld(q + HEAD * h + W * k);
      g[k] = (vec){0};
    }
    for (int j = 0; j < n; j++) {
      const float *value = kv + (int64_t)at[j] * QKV + 2 * MODEL + HEAD * h;
      vec t = d[0] * ld(value);
      for (int k = 1; k < V; k++) t += d[k] * ld(value + W * k);
      dp[j] = total(t);
      mean += dp[j] * p[h * T + j];
    }
    for (int j = 0; j < n; j++) {
      float w = p[h * T + j], ds = w * (dp[j] - mean) * SHARPNESS;
      const float *key = kv + (int64_t)at[j] * QKV + MODEL + HEAD * h;
      float *dkey = dkv + (int64_t)at[j] * QKV + MODEL + HEAD * h, *dvalue = dkey + MODEL;
      for (int k = 0; k < V; k++) {
        g[k] += ds * ld(key + W * k);
        add_to(dkey + W * k, ds * query[k]);
        add_to(dvalue + W * k, w * d[k]);
      }
    }
    for (int k = 0; k < V; k++) add_to(dq + HEAD * h + W * k, g[k]);
  }
}

/* ---- the decoder */

typedef struct {
  float *up, *up_bias, *down, *down_bias, *qkv, *qkv_bias, *out, *out_bias, *scale[2], *shift[2];
} Layer;
typedef struct {
  Layer layer[LAYERS];
  float *token, *position, *head, *head_bias, *scale, *shift;
} Arrays; /* of theta, or of its gradient */
static Arrays arrays(const float *theta, const int64_t *offset) {
#define AT(name) ((float *)theta + offset[AT_##name])
#define LAYER(l, first, second) \
  {.up = AT(UP##l), .up_bias = AT(UP_BIAS##l), .down = AT(DOWN##l), .down_bias = AT(DOWN_BIAS##l), .qkv = AT(QKV##l), \
   .qkv_bias = AT(QKV_BIAS##l), .out = AT(OUT##l), .out_bias = AT(OUT_BIAS##l), \
   .scale = {AT(NORM_SCALE##first), AT(NORM_SCALE##second)}, .shift = {AT(NORM_BIAS##first), AT(NORM_BIAS##second)}}
  return (Arrays){.layer = {LAYER(0, 0, 1), LAYER(1, 2, 3)}, .token = AT(TOKEN), .position = AT(POSITION),
                  .head = AT(HEAD), .head_bias = AT(HEAD_BIAS), .scale = AT(NORM_SCALE4), .shift = AT(NORM_BIAS4)};
#undef LAYER
#undef AT
}

typedef struct {
  float *p, *o, *hat, *inverse, *h, *slope; /* attention and its output; second norm; gelu and its derivative */
} Saved; /* of one layer, by row */
typedef struct {
  int64_t N, V, T; /* rows, vocabulary, positions */
  const int32_t *token, *position, *parent, *answer; /* answer: place among the logits, -1 where none is asked for */
  float *hat0, *inverse0, *qkv0, *x0;              /* layer 0, by cell */
  float *hat1, *inverse1, *qkv1, *hat, *inverse;   /* layer 1 and the last norm, by row */
  Saved saved[LAYERS];
  float *dqkv1, *dqkv0, *dx0, *y0;                 /* gradients; anything by cell */
  float *wide, *up, *down, *out, *qkv;             /* a tile of HIDDEN; transposed kernels of both layers */
} Forest;
static float *take(float **next, int64_t n) {
  float *first = *next;
  *next += (n + 15) & ~15LL;
  return first;
}
static Forest forest(int64_t N, int64_t V, int64_t T, const int32_t *nodes, int64_t stride, float *memory, int64_t *size) {
  int64_t C = V * T;
  float *m = memory;
  Forest f = {.N = N, .V = V, .T = T, .token = nodes, .position = nodes + stride, .parent = nodes + 2 * stride,
              .answer = nodes + 3 * stride};
  f.hat0 = take(&m, C * MODEL), f.inverse0 = take(&m, C), f.qkv0 = take(&m, C * QKV), f.x0 = take(&m, C * MODEL);
  f.dqkv0 = take(&m, C * QKV), f.dx0 = take(&m, C * MODEL), f.y0 = take(&m, C * MODEL);
  f.wide = take(&m, TILE * HIDDEN);
  f.up = take(&m, LAYERS * HIDDEN * MODEL), f.down = take(&m, LAYERS * HIDDEN * MODEL);
  f.out = take(&m, LAYERS * MODEL * MODEL), f.qkv = take(&m, LAYERS * QKV * MODEL);
  f.qkv1 = take(&m, N * QKV), f.dqkv1 = take(&m, N * QKV);
  f.hat1 = take(&m, N * MODEL), f.inverse1 = take(&m, N), f.hat = take(&m, N * MODEL), f.inverse = take(&m, N);
  for (Saved *s = f.saved; s < f.saved + LAYERS; s++) {
    s->p = take(&m, N * HEADS * T), s->o = take(&m, N * MODEL), s->hat = take(&m, N * MODEL);
    s->inverse = take(&m, N), s->h = take(&m, N * HIDDEN), s->slope = take(&m, N * HIDDEN);
  }
  if (size) *size = m - memory;
  return f;
}
/* Floats of memory that a forest of N rows takes. */
int64_t memory_size(int64_t N, int64_t V, int64_t T) {
  int64_t size;
  forest(N, V, T, 0, 0, 0, &size);
  return size;
}

/* The rows from the root to row i, and the cells of layer 0 that they stand for; their number. */
static int path_to(const Forest *f, int64_t i, int32_t *rows, int32_t *cells) {
  int n = f->position[i] + 1;
  for (int j = n; j--; i = f->parent[i]) {
    rows[j] = i;
    cells[j] = f->token[i] * f->T + j;
  }
  return n;
}

/* x += out(o), then x += down(gelu(up(norm(x)))), n rows; gelu with tanh is v sigmoid(2 sqrt(2 / pi) (v + a v^3)) */
static void mix(const Layer *w, const float *down, int64_t n, float *x, const Saved *s, int64_t at, float *y, float *u) {
  times(n, s->o + at * MODEL, MODEL, w->out, MODEL, x, w->out_bias, 1);
  norm(x, n, w->scale[1], w->shift[1], s->hat + at * MODEL, s->inverse + at, y);
  times(n, y, MODEL, w->up, HIDDEN, u, w->up_bias, 0);
  const float c = 2 * 0.7978845608028654f, a = 0.044715f;
  for (int64_t j = 0; j < n * HIDDEN; j += W) {
    vec v = ld(u + j), v2 = v * v, e = 1.f / (1.f + exp_(-c * v * (1.f + a * v2))), h = v * e;
    st(s->h + at * HIDDEN + j, h);
    st(s->slope + at * HIDDEN + j, e + h * (1.f - e) * c * (1.f + 3 * a * v2));
  }
  times(n, s->h + at * HIDDEN, HIDDEN, down, MODEL, x, w->down_bias, 1);
}

/* What a seed has of its own: nodes in four lines that are `stride` apart, and a memory for `capacity` rows, of which
 * those from `start` on are computed, N in all, and those before have left there what these need. */
typedef struct {
  const int32_t *nodes;
  int64_t stride, capacity, start, N;
  float *memory;
} Seed;

static void forward_of(const Seed *s, const float *theta, const int64_t *offset, int64_t V, int64_t T, float *logits,
                       int keep) {
  const int64_t start = s->start, N = s->N;
  const Arrays w = arrays(theta, offset);
  const Forest f = forest(s->capacity, V, T, s->nodes, s->stride, s->memory, 0);
  float x[TILE * MODEL], y[TILE * MODEL];
  if (!start) {
    for (int l = 0; l < LAYERS; l++) transpose(MODEL, HIDDEN, w.layer[l].down, HIDDEN, f.down + l * HIDDEN * MODEL, MODEL);
    for (int64_t cell = 0; cell < V * T; cell++)
      for (int j = 0; j < MODEL; j += W)
        st(f.x0 + cell * MODEL + j, ld(w.token + cell / T * MODEL + j) + ld(w.position + cell % T * MODEL + j));
    norm(f.x0, V * T, w.layer[0].scale[0], w.layer[0].shift[0], f.hat0, f.inverse0, f.y0);
    times(V * T, f.y0, MODEL, w.layer[0].qkv, QKV, f.qkv0, w.layer[0].qkv_bias, 0);
  }
  for (int64_t first = start; first < N; first += TILE) {
    int64_t n = N - first < TILE ? N - first : TILE, m = 0, answer = 0, at = keep ? first : 0;
    int32_t rows[T], cells[T];
    for (int64_t i = 0; i < n; i++) {
      int length = path_to(&f, first + i, rows, cells);
      int64_t cell = cells[length - 1];
      memcpy(x + i * MODEL, f.x0 + cell * MODEL, MODEL * 4);
      attend(f.qkv0 + cell * QKV, f.qkv0, cells, length, T, f.saved[0].p + (at + i) * HEADS * T,
             f.saved[0].o + (at + i) * MODEL);
    }
    mix(&w.layer[0], f.down, n, x, &f.saved[0], at, y, f.wide);
    norm(x, n, w.layer[1].scale[0], w.layer[1].shift[0], f.hat1 + at * MODEL, f.inverse1 + at, y);
    times(n, y, MODEL, w.layer[1].qkv, QKV, f.qkv1 + first * QKV, w.layer[1].qkv_bias, 0);
    for (int64_t i = 0; i < n; i++) { /* rows that answer go on, close together */
      int64_t row = first + i;
      if (f.answer[row] < 0) continue;
      if (!m) answer = f.answer[row], at = keep ? answer : 0;
      if (m != i) memcpy(x + m * MODEL, x + i * MODEL, MODEL * 4);
      attend(f.qkv1 + row * QKV, f.qkv1, rows, path_to(&f, row, rows, cells), T, f.saved[1].p + (at + m) * HEADS * T,
             f.saved[1].o + (at + m) * MODEL);
      m++;
    }
    if (!m) continue;
    mix(&w.layer[1], f.down + HIDDEN * MODEL, m, x, &f.saved[1], at, y, f.wide);
    norm(x, m, w.scale, w.shift, f.hat + at * MODEL, f.inverse + at, y);
    for (int64_t i = 0; i < m; i++)
      for (int64_t v = 0; v < V; v++) {
        vec s = {0};
        for (int j = 0; j < MODEL; j += W) s += ld(y + i * MODEL + j) * ld(w.head + v * MODEL + j);
        logits[(answer + i) * V + v] = total(s) + w.head_bias[v];
      }
  }
}

/* Logits, (M, V) of each seed; theta has D numbers each.
 * keep: what the backward pass needs is kept of every row, else of one tile. */
void forward(int64_t seeds, const Seed *seed, const float *theta, int64_t D, const int64_t *offset, int64_t V, int64_t T,
             float *logits, int64_t M, int keep) {
  for (int64_t s = 0; s < seeds; s++) forward_of(seed + s, theta + s * D, offset, V, T, logits + s * M * V, keep);
}

/* Backward of `mix`: dx (n, MODEL) in place, and d o */
static void mix_back(const Layer *w, const Layer *g, const float *up, const float *out, int64_t n, float *dx,
                     const Saved *s, int64_t at, float *d_o, float *y, float *dh) {
  sum_rows(dx, n, MODEL, g->down_bias);
  outer(n, dx, MODEL, s->h + at * HIDDEN, HIDDEN, g->down);
  times(n, dx, MODEL, w->down, HIDDEN, dh, 0, 0);
  for (int64_t j = 0; j < n * HIDDEN; j += W) st(dh + j, ld(dh + j) * ld(s->slope + at * HIDDEN + j));
  sum_rows(dh, n, HIDDEN, g->up_bias);
  rescale(s->hat + at * MODEL, n, w->scale[1], w->shift[1], y);
  outer(n, y, MODEL, dh, HIDDEN, g->up);
  times(n, dh, HIDDEN, up, MODEL, y, 0, 0);
  norm_back(y, s->hat + at * MODEL, s->inverse + at, n, w->scale[1], dx, g->scale[1], g->shift[1]);
  sum_rows(dx, n, MODEL, g->out_bias);
  outer(n, s->o + at * MODEL, MODEL, dx, MODEL, g->out);
  times(n, dx, MODEL, out, MODEL, d_o, 0, 0);
}
/* Backward of the projection of n normed rows to queries, keys and values: dx += what dqkv gives it */
static void project_back(const Layer *w, const Layer *g, const float *qkv, const float *dqkv, int64_t n, const float *hat,
                         const float *inverse, float *dx, float *y) {
  sum_rows(dqkv, n, QKV, g->qkv_bias);
  rescale(hat, n, w->scale[0], w->shift[0], y);
  outer(n, y, MODEL, dqkv, QKV, g->qkv);
  times(n, dqkv, QKV, qkv, MODEL, y, 0, 0);
  norm_back(y, hat, inverse, n, w->scale[0], dx, g->scale[0], g->shift[0]);
}
/* Backward of the last norm and the head of m rows: da = d x, from rows of d logits (m, V) */
static void predict_back(const Arrays *w, const Arrays *g, const float *dlogits, int64_t m, int64_t V, const float *hat,
                         const float *inverse, float *da, float *dy, float *y) {
  rescale(hat, m, w->scale, w->shift, y);
  memset(dy, 0, m * MODEL * 4);
  for (int64_t v = 0; v < V; v++) {
    float bias = 0;
    vec sum[MODEL / W];
    for (int j = 0; j < MODEL / W; j++) sum[j] = (vec){0};
    for (int64_t i = 0; i < m; i++) {
      float d = dlogits[i * V + v];
      bias += d;
      for (int j = 0; j < MODEL / W; j++) {
        sum[j] += d * ld(y + i * MODEL + W * j);
        add_to(dy + i * MODEL + W * j, d * ld(w->head + v * MODEL + W * j));
      }
    }
    g->head_bias[v] += bias;
    for (int j = 0; j < MODEL / W; j++) add_to(g->head + v * MODEL + W * j, sum[j]);
  }
  memset(da, 0, m * MODEL * 4);
  norm_back(dy, hat, inverse, m, w->scale, da, g->scale, g->shift);
}

static void backward_of(const Seed *s, const float *theta, const int64_t *offset, int64_t V, int64_t T,
                        const float *dlogits, float *gradient) {
  const int64_t N = s->N;
  const Arrays w = arrays(theta, offset), g = arrays(gradient, offset);
  const Forest f = forest(s->capacity, V, T, s->nodes, s->stride, s->memory, 0);
  for (int l = 0; l < LAYERS; l++) {
    transpose(MODEL, HIDDEN, w.layer[l].up, HIDDEN, f.up + l * HIDDEN * MODEL, MODEL);
    transpose(MODEL, MODEL, w.layer[l].out, MODEL, f.out + l * MODEL * MODEL, MODEL);
    transpose(MODEL, QKV, w.layer[l].qkv, QKV, f.qkv + l * QKV * MODEL, MODEL);
  }
  memset(f.dqkv1, 0, N * QKV * 4);
  memset(f.dqkv0, 0, V * T * QKV * 4);
  memset(f.dx0, 0, V * T * MODEL * 4);
  float dx[TILE * MODEL], da[TILE * MODEL], y[TILE * MODEL], d_o[TILE * MODEL];
  for (int64_t first = (N - 1) / TILE * TILE; first >= 0; first -= TILE) {
    int64_t n = N - first < TILE ? N - first : TILE, m = 0, at = 0;
    int32_t rows[T], cells[T];
    for (int64_t i = 0; i < n; i++)
      if (f.answer[first + i] >= 0 && !m++) at = f.answer[first + i];
    memset(dx, 0, n * MODEL * 4);
    if (m) {
      predict_back(&w, &g, dlogits + at * V, m, V, f.hat + at * MODEL, f.inverse + at, da, d_o, y);
      mix_back(&w.layer[1], &g.layer[1], f.up + HIDDEN * MODEL, f.out + MODEL * MODEL, m, da, &f.saved[1], at, d_o, y,
               f.wide);
      for (int64_t i = 0, k = 0; i < n; i++) { /* in any order: keys and values are read by the forward pass only */
        int64_t row = first + i;
        if (f.answer[row] < 0) continue;
        memcpy(dx + i * MODEL, da + k * MODEL, MODEL * 4);
        attend_back(f.qkv1 + row * QKV, f.qkv1, rows, path_to(&f, row, rows, cells), T,
                    f.saved[1].p + (at + k) * HEADS * T, d_o + k * MODEL, f.dqkv1 + row * QKV, f.dqkv1);
        k++;
      }
    }
    project_back(&w.layer[1], &g.layer[1], f.qkv + QKV * MODEL, f.dqkv1 + first * QKV, n, f.hat1 + first * MODEL,
                 f.inverse1 + first, dx, y);
    mix_back(&w.layer[0], &g.layer[0], f.up, f.out, n, dx, &f.saved[0], first, d_o, y, f.wide);
    for (int64_t i = 0; i < n; i++) {
      int length = path_to(&f, first + i, rows, cells);
      int64_t cell = cells[length - 1];
      for (int j = 0; j < MODEL; j += W) add_to(f.dx0 + cell * MODEL + j, ld(dx + i * MODEL + j));
      attend_back(f.qkv0 + cell * QKV, f.qkv0, cells, length, T, f.saved[0].p + (first + i) * HEADS * T,
                  d_o + i * MODEL, f.dqkv0 + cell * QKV, f.dqkv0);
    }
  }
  project_back(&w.layer[0], &g.layer[0], f.qkv, f.dqkv0, V * T, f.hat0, f.inverse0, f.dx0, f.y0);
  for (int64_t cell = 0; cell < V * T; cell++)
    for (int j = 0; j < MODEL; j += W) {
      vec d = ld(f.dx0 + cell * MODEL + j);
      add_to(g.token + cell / T * MODEL + j, d);
      add_to(g.position + cell % T * MODEL + j, d);
    }
}

/* gradient += what d logits (M, V) of each seed give it, after a forward pass over all rows that kept them */
void backward(int64_t seeds, const Seed *seed, const float *theta, int64_t D, const int64_t *offset, int64_t V, int64_t T,
              const float *dlogits, int64_t M, float *gradient) {
  for (int64_t s = 0; s < seeds; s++)
    backward_of(seed + s, theta + s * D, offset, V, T, dlogits + s * M * V, gradient + s * D);
}

/* ---- optimisers: the parameters of seeds are `ahead` numbers apart, their gradients `behind`, all else n */

/* m += c1 (g - m), v += c2 (g^2 - v), theta -= rate (own m + fresh g) / (sqrt(v whole) + 1e-8), n numbers; c1 and c2
 * are 1 - b1 and 1 - b2, which float32 cannot take from each other without loss, and whole is 1 / (1 - b2^t) */
static void adam_of(float *restrict theta, const float *restrict g, float *restrict m, float *restrict v, int64_t n,
                    float c1, float c2, float own, float fresh, float whole, float rate) {
  for (int64_t i = 0; i < n; i++) {
    m[i] += c1 * (g[i] - m[i]);
    v[i] += c2 * (g[i] * g[i] - v[i]);
    theta[i] -= rate * (own * m[i] + fresh * g[i]) / (sqrtf(v[i] * whole) + 1e-8f);
  }
}
void adam(int64_t seeds, float *theta, int64_t ahead, const float *g, int64_t behind, float *m, float *v, int64_t n,
          float c1, float c2, float own, float fresh, float whole, float rate) {
  for (int64_t s = 0; s < seeds; s++)
    adam_of(theta + s * ahead, g + s * behind, m + s * n, v + s * n, n, c1, c2, own, fresh, whole, rate);
}

enum { SHORT = 64, LONG = 256, STEPS = 5 };
static const float NEWTON_SCHULZ[3] = {3.4445f, -4.7750f, 2.0315f};

/* Five steps Y <- Y (a I + b A + c A^2), A = Y^T Y, of Y (rows, columns <= SHORT), by rows of SHORT; where Y is then. */
ONCE float *orthogonalize(int64_t rows, int64_t columns, float *y, float *next, float *A, float *B) {
  int64_t wide = (columns + W * COLUMNS - 1) / (W * COLUMNS) * (W * COLUMNS); /* columns from there on stay 0 */
  for (int step = 0; step < STEPS; step++) {
    gram(columns, rows, y, SHORT, A);
    gram(columns, columns, A, SHORT, B);
    for (int64_t i = 0; i < columns * SHORT; i++) B[i] = NEWTON_SCHULZ[1] * A[i] + NEWTON_SCHULZ[2] * B[i];
    for (int64_t i = 0; i < columns; i++) B[i * SHORT + i] += NEWTON_SCHULZ[0];
    product(rows, wide, columns, y, SHORT, 1, B, SHORT, next, SHORT, 0, 0);
    float *last = y;
    y = next, next = last;
  }
  return y;
}
/* x as it is, or with its long side down where it is wide: (rows, columns) by rows of ldx to rows of ldy */
static void upright(int64_t rows, int64_t columns, const float *x, int64_t ldx, float *y, int64_t ldy, int turn) {
  if (turn) transpose(rows, columns, x, ldx, y, ldy);
  else
    for (int64_t i = 0; i < rows; i++) memcpy(y + i * ldy, x + i * ldx, columns * 4);
}
/* m += c (g - m) and theta -= rate scale orthogonal(own m + fresh g), for `count` matrices that lie one after
 * the other: rows, columns of each in `shape`, one side at most SHORT and the other at most LONG */
static void muon_of(float *theta, const float *g, float *m, int64_t count, const int64_t *shape, const float *scale,
                    float c, float own, float fresh, float rate) {
  float first[LONG * SHORT], second[LONG * SHORT], A[SHORT * SHORT], B[SHORT * SHORT];
  for (int64_t each = 0; each < count; each++) {
    int64_t rows = shape[2 * each], columns = shape[2 * each + 1], n = rows * columns, turn = rows <= columns;
    int64_t tall = turn ? columns : rows, wide = turn ? rows : columns, padded = tall * SHORT;
    memset(first, 0, padded * 4), memset(A, 0, sizeof A), memset(B, 0, sizeof B);
    vec squares = {0};
    for (int64_t i = 0; i < n; i++) {
      m[i] += c * (g[i] - m[i]);
      second[i] = own * m[i] + fresh * g[i];
    }
    upright(rows, columns, second, columns, first, SHORT, turn);
    for (int64_t i = 0; i < padded; i += W) squares += ld(first + i) * ld(first + i);
    float inverse = 1 / (sqrtf(total(squares)) + 1e-8f);
    for (int64_t i = 0; i < padded; i += W) st(first + i, ld(first + i) * inverse);
    float *y = orthogonalize(tall, wide, first, second, A, B), *x = y == first ? second : first;
    upright(tall, wide, y, SHORT, x, columns, turn);
    for (int64_t i = 0; i < n; i++) theta[i] -= rate * scale[each] * x[i];
    theta += n, g += n, m += n;
  }
}
void muon(int64_t seeds, float *theta, int64_t ahead, const float *g, int64_t behind, float *m, int64_t n, int64_t count,
          const int64_t *shape, const float *scale, float c, float own, float fresh, float rate) {
  for (int64_t s = 0; s < seeds; s++)
    muon_of(theta + s * ahead, g + s * behind, m + s * n, count, shape, scale, c, own, fresh, rate);
}
