import com.azure.core.util.BinaryData;
import com.azure.storage.blob.BlobClient;
import com.azure.storage.blob.BlobClientBuilder;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import com.microsoft.azure.sdk.iot.device.ClientOptions;
import com.microsoft.azure.sdk.iot.device.DeviceClient;
import com.microsoft.azure.sdk.iot.device.FileUploadCompletionNotification;
import com.microsoft.azure.sdk.iot.device.FileUploadSasUriRequest;
import com.microsoft.azure.sdk.iot.device.FileUploadSasUriResponse;
import com.microsoft.azure.sdk.iot.device.InternalClient;
import com.microsoft.azure.sdk.iot.device.IotHubClientProtocol;
import com.microsoft.azure.sdk.iot.device.IotHubMessageResult;
import com.microsoft.azure.sdk.iot.device.IotHubStatusCode;
import com.microsoft.azure.sdk.iot.device.Message;
import com.microsoft.azure.sdk.iot.device.MessageCallback;
import com.microsoft.azure.sdk.iot.device.ModuleClient;
import com.microsoft.azure.sdk.iot.device.exceptions.IotHubClientException;
import com.microsoft.azure.sdk.iot.device.transport.IotHubConnectionStatus;
import com.microsoft.azure.sdk.iot.device.twin.DirectMethodResponse;
import com.microsoft.azure.sdk.iot.device.twin.ReportedPropertiesUpdateCorrelatingMessageCallback;
import com.microsoft.azure.sdk.iot.device.twin.ReportedPropertiesUpdateResponse;
import com.microsoft.azure.sdk.iot.device.twin.Twin;
import com.microsoft.azure.sdk.iot.device.twin.TwinCollection;
import com.microsoft.azure.sdk.iot.provisioning.device.ProvisioningDeviceClient;
import com.microsoft.azure.sdk.iot.provisioning.device.ProvisioningDeviceClientRegistrationResult;
import com.microsoft.azure.sdk.iot.provisioning.device.ProvisioningDeviceClientStatus;
import com.microsoft.azure.sdk.iot.provisioning.device.ProvisioningDeviceClientTransportProtocol;
import com.microsoft.azure.sdk.iot.provisioning.security.SecurityProvider;
import com.microsoft.azure.sdk.iot.provisioning.security.SecurityProviderSymmetricKey;
import com.microsoft.azure.sdk.iot.provisioning.security.hsm.SecurityProviderX509Cert;
import java.io.BufferedReader;
import java.io.FileInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.Key;
import java.security.KeyStore;
import java.security.cert.X509Certificate;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;

/**
 * One device after another on the Azure IoT SDK for Java, in one virtual machine: each line of standard input is a
 * JSON object with the settings that the Python and Node programs take from the environment, where this one looks
 * for those that are absent. A device, or with
 * MODULE_ID a module, registers by DPS unless told a hub, sends telemetry, uploads a file if UPLOAD names one, and with SESSION uses all that a
 * hub offers until it is told "bye" by a message or a method. TRANSPORT is mqtt, ws (MQTT over WebSocket) or http. With
 * LOAD it sends that many messages and uses its twin meanwhile, each again as long as the SDK reports a failure.
 *
 * <p>Each step is printed as one JSON line, the last one is "end" with status 0, or 3 after a refusal, which
 * "failed" names by the SDK's own class. The server root is trusted by the JVM's trust store.
 */
public final class Device {
    private static final String PASSWORD = "changeit";
    private static final int TWIN_TIME = 3000; // in milliseconds, for an answer

    private final JsonObject settings;
    private final CountDownLatch bye = new CountDownLatch(1);

    private Device(JsonObject settings) {
        this.settings = settings;
    }

    /** Runs a device for each line of standard input. */
    public static void main(String[] args) throws IOException {
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            String status = "0";
            try {
                new Device(JsonParser.parseString(line).getAsJsonObject()).run();
            } catch (Exception error) { // every refusal surfaces as some class of the SDK's
                status = "3";
                String text = error instanceof IotHubClientException
                    ? String.valueOf(((IotHubClientException) error).getStatusCode())
                    : String.valueOf(error.getMessage());
                say("failed", "error", error.getClass().getSimpleName(), "text", text, "cause", String.valueOf(error.getCause()));
            }
            say("end", "status", status);
        }
        System.exit(0);
    }

    private static synchronized void say(String step, String... facts) {
        JsonObject line = new JsonObject();
        line.addProperty("step", step);
        for (int i = 0; i < facts.length; i += 2) {
            line.addProperty(facts[i], facts[i + 1]);
        }
        System.out.println(line);
        System.out.flush();
    }

    private String get(String name) {
        JsonElement given = settings.get(name);
        String value = given == null ? System.getenv(name) : given.getAsString();
        return value == null || value.isEmpty() ? null : value;
    }

    private String key() {
        return get("DEVICE_KEY") != null ? get("DEVICE_KEY") : get("PROVISIONING_SYMMETRIC_KEY");
    }

    private IotHubClientProtocol protocol() {
        String transport = get("TRANSPORT");
        return "ws".equals(transport) ? IotHubClientProtocol.MQTT_WS
            : "http".equals(transport) ? IotHubClientProtocol.HTTPS : IotHubClientProtocol.MQTT;
    }

    private void run() throws Exception {
        InternalClient client = get("HUB_HOST") == null ? register() : hubClient();
        CountDownLatch lost = new CountDownLatch(1);
        client.setConnectionStatusChangeCallback(change -> {
            if (change.getNewStatus() == IotHubConnectionStatus.DISCONNECTED_RETRYING) {
                lost.countDown();
                say("lost");
            } else if (change.getNewStatus() == IotHubConnectionStatus.CONNECTED && lost.getCount() == 0) {
                say("reconnected");
            }
        }, null);
        try {
            again(() -> client.open(false));
            say("connected");
            again(() -> client.sendEvent(message("{\"temperature\":31}")));
            say("sent");
            if (get("UPLOAD") != null) {
                upload((DeviceClient) client);
            }
            if (get("SESSION") != null) {
                session(client);
            }
        } finally {
            client.close();
        }
    }

    /** What may fail. */
    private interface Operation {
        void run() throws Exception;
    }

    /** With LOAD does again what the SDK reports as failed, as long as it says that this may pass. */
    private void again(Operation operation) throws Exception {
        while (true) {
            try {
                operation.run();
                return;
            } catch (IotHubClientException error) {
                if (get("LOAD") == null || !error.isRetryable() && error.getStatusCode() != IotHubStatusCode.DEVICE_OPERATION_TIMED_OUT) {
                    throw error;
                }
                say("again", "error", String.valueOf(error.getStatusCode()));
            }
        }
    }

    /** Sends messages one after the other, now and then with a round of the twin. */
    private void load(InternalClient client, int count) throws Exception {
        for (int i = 0; i < count; i++) {
            Message message = new Message("m-" + i);
            again(() -> client.sendEvent(message));
            if (i % 10 == 0) {
                int round = i / 10;
                TwinCollection reported = new TwinCollection();
                reported.put("round", round);
                again(() -> client.updateReportedProperties(reported, TWIN_TIME));
                again(() -> {
                    if (((Number) client.getTwin(TWIN_TIME).getReportedProperties().get("round")).intValue() != round) {
                        throw new IllegalStateException("the twin lacks what was reported");
                    }
                });
            }
        }
        say("acknowledged", "text", String.valueOf(count));
    }

    private static Message message(String body) {
        Message message = new Message(body);
        message.setContentType("application/json");
        message.setContentEncoding("utf-8");
        message.setProperty("temperatureAlert", "true");
        return message;
    }

    private DeviceClient register() throws Exception {
        String transport = get("TRANSPORT");
        ProvisioningDeviceClientTransportProtocol protocol = "ws".equals(transport) ? ProvisioningDeviceClientTransportProtocol.MQTT_WS
            : "http".equals(transport) ? ProvisioningDeviceClientTransportProtocol.HTTPS : ProvisioningDeviceClientTransportProtocol.MQTT;
        SecurityProvider security = security();
        ProvisioningDeviceClient provisioning =
            ProvisioningDeviceClient.create(get("PROVISIONING_HOST"), get("PROVISIONING_IDSCOPE"), protocol, security);
        ProvisioningDeviceClientRegistrationResult result = provisioning.registerDeviceSync();
        provisioning.close();
        ProvisioningDeviceClientStatus status = result.getProvisioningDeviceClientStatus();
        say("registered", "status", status == ProvisioningDeviceClientStatus.PROVISIONING_DEVICE_STATUS_ASSIGNED ? "assigned" : status.name(),
            "hub", result.getIothubUri(), "device", result.getDeviceId());
        return new DeviceClient(result.getIothubUri(), result.getDeviceId(), security, protocol());
    }

    private SecurityProvider security() throws Exception {
        String id = get("PROVISIONING_REGISTRATION_ID");
        if (get("PFX_FILE") == null) {
            return new SecurityProviderSymmetricKey(key().getBytes(StandardCharsets.UTF_8), id);
        }
        KeyStore store = keyStore();
        String alias = store.aliases().nextElement();
        List<X509Certificate> above = new ArrayList<>();
        Arrays.stream(store.getCertificateChain(alias)).skip(1).forEach(c -> above.add((X509Certificate) c));
        Key key = store.getKey(alias, PASSWORD.toCharArray());
        return new SecurityProviderX509Cert((X509Certificate) store.getCertificate(alias), key, above);
    }

    private KeyStore keyStore() throws GeneralSecurityException, IOException {
        KeyStore store = KeyStore.getInstance("PKCS12");
        try (InputStream file = new FileInputStream(get("PFX_FILE"))) {
            store.load(file, PASSWORD.toCharArray());
        }
        return store;
    }

    private InternalClient hubClient() throws Exception {
        String text = "HostName=" + get("HUB_HOST") + ";DeviceId=" + get("DEVICE_ID");
        if (get("MODULE_ID") != null) {
            text += ";ModuleId=" + get("MODULE_ID");
        }
        ClientOptions.ClientOptionsBuilder options = ClientOptions.builder();
        if (get("PFX_FILE") != null) {
            KeyManagerFactory keys = KeyManagerFactory.getInstance(KeyManagerFactory.getDefaultAlgorithm());
            keys.init(keyStore(), PASSWORD.toCharArray());
            SSLContext context = SSLContext.getInstance("TLSv1.2");
            context.init(keys.getKeyManagers(), null, null);
            options.sslContext(context);
            text += ";x509=true";
        } else {
            text += ";SharedAccessKey=" + key();
        }
        if (get("GATEWAY_HOST") != null) {
            text += ";GatewayHostName=" + get("GATEWAY_HOST");
        }
        return get("MODULE_ID") != null ? new ModuleClient(text, protocol(), options.build())
            : new DeviceClient(text, protocol(), options.build());
    }

    private void upload(DeviceClient client) throws Exception {
        FileUploadSasUriResponse grant = client.getFileUploadSasUri(new FileUploadSasUriRequest(get("UPLOAD")));
        BlobClient blob = new BlobClientBuilder().endpoint(grant.getBlobUri().toString()).buildClient();
        blob.upload(BinaryData.fromFile(Path.of(get("UPLOAD_FILE"))), true);
        int size = blob.downloadContent().toBytes().length;
        client.completeFileUpload(new FileUploadCompletionNotification(grant.getCorrelationId(), true, 200, "done"));
        say("uploaded", "text", String.valueOf(size));
    }

    /**
     * Reads the twin. The SDK now and then loses an answer by itself: its receiving thread may forget the request
     * before the thread that got the answer has looked for it (IotHubTransport.correlationCallbacks). A device then
     * asks again.
     */
    private static Twin twin(InternalClient client) throws Exception {
        IotHubClientException lost = null;
        for (int i = 0; i < 4; i++) {
            try {
                return client.getTwin(TWIN_TIME);
            } catch (IotHubClientException error) {
                if (error.getStatusCode() != IotHubStatusCode.DEVICE_OPERATION_TIMED_OUT) {
                    throw error;
                }
                lost = error;
            }
        }
        throw lost;
    }

    /** Reports a property and waits until the hub has acknowledged it; its answer may be lost as a twin's. */
    private static void report(InternalClient client) throws InterruptedException {
        CountDownLatch acknowledged = new CountDownLatch(1);
        TwinCollection reported = new TwinCollection();
        reported.put("firmware", "1.2");
        client.updateReportedPropertiesAsync(reported, new ReportedPropertiesUpdateCorrelatingMessageCallback() {
            @Override
            public void onRequestQueued(Message message, Object context) { }

            @Override
            public void onRequestSent(Message message, Object context) { }

            @Override
            public void onRequestAcknowledged(Message message, Object context, IotHubClientException error) {
                say("reported", "error", error == null ? "" : error.getMessage());
                acknowledged.countDown();
            }

            @Override
            public void onResponseReceived(Message message, Object context, IotHubStatusCode status,
                ReportedPropertiesUpdateResponse response, IotHubClientException error) { }

            @Override
            public void onResponseAcknowledged(Message message, Object context) { }
        }, null);
        acknowledged.await();
    }

    /** Uses twins, methods and messages until it is told bye. */
    private void session(InternalClient client) throws Exception {
        MessageCallback onMessage = (m, context) -> {
            String body = new String(m.getBytes(), StandardCharsets.UTF_8);
            say("message", "text", body + " " + m.getProperty("p"));
            if (body.equals("bye")) {
                bye.countDown();
            }
            return IotHubMessageResult.COMPLETE;
        };
        if (client instanceof DeviceClient) {
            ((DeviceClient) client).setMessageCallback(onMessage, null);
        } else {
            ((ModuleClient) client).setMessageCallback(onMessage, null);
        }
        if (protocol() != IotHubClientProtocol.HTTPS) {
            client.subscribeToMethods((name, payload, context) -> {
                say("method", "text", name + " " + payload.getPayloadAsJsonString());
                if (name.equals("bye")) {
                    bye.countDown();
                }
                return new DirectMethodResponse(207, Map.of("ok", true));
            }, null);
            client.subscribeToDesiredProperties(
                (twin, context) -> say("desired", "text", String.valueOf(twin.getDesiredProperties().get("interval"))), null);
            say("twin", "text", String.valueOf(twin(client).getDesiredProperties().getVersion()));
            report(client);
        }
        say("ready");
        if (get("LOAD") != null) {
            load(client, Integer.parseInt(get("LOAD")));
        }
        bye.await();
        again(() -> client.sendEvent(message("{\"temperature\":32}")));
        say("done");
    }
}
